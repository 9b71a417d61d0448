"""What stands first: verdict, warnings, what to do next."""
