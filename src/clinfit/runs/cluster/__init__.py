"""The steps of a study on the nodes of a Ray cluster, which need not see the folders of the machine that drives it."""
