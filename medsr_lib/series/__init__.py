"""Running the notebooks: papermill, reports and the command line `medsr`."""
