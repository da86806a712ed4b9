"""Lists of mixtures to be measured on, in the layouts in which they are published."""
