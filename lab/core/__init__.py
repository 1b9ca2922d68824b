"""What every experiment stands on: parameters, records, the store, profiles and statistics."""
