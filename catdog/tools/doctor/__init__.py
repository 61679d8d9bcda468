"""`catdog doctor`: is it working? Small experiments that tell a healthy set-up from an ill one."""
