"""What attacks: real sockets, real files, real repositories, and a product that stands."""
