"""A lake that an earlier release has written goes on with this one."""
