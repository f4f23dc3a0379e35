"""How ranks talk and how chunks come to them. The only room that imports horovod or mpi4py."""
