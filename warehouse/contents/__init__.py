"""What files hold, whatever they are called and packed with."""
