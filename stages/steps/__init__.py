"""What several stages do alike: one step of the route for one policy and one training seed.

The stages train once, with `seed`; repeat_training takes the same steps with other seeds.
"""
