//! Measurements that need the machine for themselves: a binary of their own, since cargo runs one after the other, and the
//! tests within one beside one another. What is right or wrong at any speed is tested in `../it`.

mod slow_clients;
