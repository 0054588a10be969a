"""A made-up child's chest, and radiographs of it from the front, with or without pneumonia.

A radiograph shows how much lies in the beam's way. What is drawn is therefore a thickness: of the
body, less the air of the lungs, plus bones; pneumonia is air that fluid has taken the place of.
"""
