"""Hybrid runs: one scheduled graph on the CPU and on GPUs.

The schedule is the planner's own: splits in order, what is copied in at the beginning of each, and where every value lies in
the compute buffer of its device. CPU splits are run by the CPU engine's lowering, GPU splits as lists of kernel launches.
"""
