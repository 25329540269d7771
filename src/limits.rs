//! Every bound.
