//! `hotgate demo`: a private Redis Cluster with the gateway in front of it, for someone who just cloned this.

pub mod private_redis;
