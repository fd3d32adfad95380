//! Deliveries and couriers in the service's own database. Their rules are not here, and no transaction begins or ends
//! here: whoever calls knows what has to commit together.

pub mod couriers;
pub mod deliveries;
