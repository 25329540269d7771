//! What must hold between directives, beyond the range of each.
//!
//! A relation is checked only between keys that were read well: one mistake is reported once.

use super::reader::Reader;
use super::sections::Config;

pub fn check(_config: &Config, _reader: &mut Reader<'_>) {}
