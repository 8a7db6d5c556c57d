"""What runs inside the model's environment: standard library only, every Python from 3.6 on."""
