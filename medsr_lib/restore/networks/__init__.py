"""The networks: super-resolution, denoising, and those that read images."""

from medsr_lib.restore.networks.denoise import DenoisingAutoencoder
from medsr_lib.restore.networks.readers import LesionClassifier, UNet
from medsr_lib.restore.networks.saved import fingerprint, load, n_parameters, save
from medsr_lib.restore.networks.sr import ESPCN, WDSR, Discriminator, SRResNet

__all__ = [
    "ESPCN",
    "WDSR",
    "DenoisingAutoencoder",
    "Discriminator",
    "LesionClassifier",
    "SRResNet",
    "UNet",
    "fingerprint",
    "load",
    "n_parameters",
    "save",
]
