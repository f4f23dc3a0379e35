"""horovodrun, but it does not load TensorFlow twice to find out what Horovod was built with: here that is both, MPI and Gloo.

tests/launch/test_horovod_build.py asks, and what is said of the launcher itself is shown with the real one.
"""

from horovod.runner import launch

if __name__ == "__main__":
    launch.gloo_built = launch.mpi_built = lambda verbose=False: True
    launch.run_commandline()
