"""What an object is: size bins, the objects of a ground truth, and the record of every object."""
