"""This room carries: Faust reads whole record batches, the engine thinks, alerts go to the notification topic."""
