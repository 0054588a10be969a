"""Small parameters, with which every notebook takes seconds; each is given those that it has."""

SLICES = {
    "scale": 2,
    "fold": 2,
    "steps": 60,
    "pretraining": 60,
    "trainings": 2,
    "classifier_steps": 20,
    "segmenter_steps": 20,
    "robust_steps": 20,
    "patch": 64,
    "crop": 32,
    "tissue": "head",
    "device": "cpu",
}
DENOISING = {
    "size": 64,
    "steps": 40,
    "espcn_steps": 40,
    "upscalers": ["ESPCN", "SRResNet"],
    "srresnet_steps": 10,
    "levels": [0.05, 0.2],
    "device": "cpu",
}
DETECTION = {
    "size": 64,
    "folds": 2,
    "trainings": 2,
    "steps": 20,
    "noise_levels": [0.1],
    "scales": [2],
    "device": "cpu",
}
