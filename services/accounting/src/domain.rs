//! The model of accounting: the account, its commands, events and rejections; pure and synchronous. No database, message
//! or gRPC type is known here.

pub(crate) mod account;
