"""What is seen of a machine: each module has a class of facts and a function that looks, and changes nothing."""
