//! The macros that declare directives and choices.
//!
//! `section!` turns a table of directives into a plain struct, its defaults and the list of directives. The parser, the test of
//! the manual and the reload all walk that list, so a directive exists in all of them or in none, with one meaning.
//!
//! This file declares no directive of its own.

/// Declares a table of the file: `field as "key": Type = default, kind, live|restart, "meaning";`.
///
/// `as "key"` is for keys that are no good field names; a field without a default must be given in the file.
macro_rules! section {
    ($(#[$attribute:meta])* $name:ident {
        $( $field:ident $(as $key:literal)? : $type:ty $(= $default:expr)?, $kind:expr, $reload:ident, $meaning:literal; )*
    }) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $( #[doc = $meaning] pub $field: $type, )*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::config::declare::section!(@value $type $(, $default)?), )* }
            }
        }

        impl $name {
            /// The keys of this table.
            pub const DIRECTIVES: &'static [$crate::config::schema::Directive] = &[
                $( $crate::config::schema::Directive {
                    key: $crate::config::schema::key_of(stringify!($field), &[$($key)?]),
                    kind: $kind,
                    default: $crate::config::declare::section!(@render $type $(, $default)?),
                    reload: $crate::config::declare::section!(@reload $reload),
                    meaning: $meaning,
                }, )*
            ];
        }

        impl $crate::config::value::Value for $name {
            fn read(
                node: $crate::config::reader::Node<'_>,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Option<Self> {
                let table = reader.table(&node, Self::DIRECTIVES)?;
                let mut section = Self::default();
                let mut directives = Self::DIRECTIVES.iter();
                $( $crate::config::value::read_field(&mut section.$field, table, node.path, directives.next(), reader); )*
                Some(section)
            }

            fn render(&self, _: &$crate::config::schema::Kind) -> String {
                String::new()
            }

            fn describe(&self, _: &$crate::config::schema::Kind) -> String {
                let mut changes = Vec::new();
                if let Some(any) = Self::DIRECTIVES.first() {
                    let usual = Self::default();
                    $crate::config::value::Value::changes(&usual, self, "", any, &mut changes);
                }
                $crate::config::value::in_one_line(changes)
            }

            fn changes(
                &self,
                other: &Self,
                path: &str,
                _: &$crate::config::schema::Directive,
                out: &mut Vec<$crate::config::Change>,
            ) {
                let mut directives = Self::DIRECTIVES.iter();
                $( $crate::config::value::changes_of(&self.$field, &other.$field, path, directives.next(), out); )*
            }

            fn keep_running(&mut self, running: &Self, _: &$crate::config::schema::Directive) {
                let mut directives = Self::DIRECTIVES.iter();
                $( $crate::config::value::keep_running(&mut self.$field, &running.$field, directives.next()); )*
            }
        }
    };
    (@value $type:ty) => { <$type>::default() };
    (@value $type:ty, $default:expr) => { $default };
    (@render $type:ty) => { None };
    (@render $type:ty, $default:expr) => {
        Some(|kind| {
            let default: $type = $default;
            $crate::config::value::Value::render(&default, kind)
        })
    };
    (@reload live) => { true };
    (@reload restart) => { false };
}

/// Declares an enum whose variants are words of the file.
macro_rules! choice {
    ($(#[$attribute:meta])* $name:ident { $( $(#[$doc:meta])* $variant:ident = $word:literal, )* }) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[$doc])* $variant, )* }

        impl $name {
            /// The words of the file, in the order of the variants.
            pub const NAMES: &'static [&'static str] = &[$( $word ),*];

            /// The word for this variant.
            pub fn name(self) -> &'static str {
                match self { $( Self::$variant => $word, )* }
            }

            fn from_name(name: &str) -> Option<Self> {
                match name { $( $word => Some(Self::$variant), )* _ => None }
            }
        }

        impl $crate::config::value::Value for $name {
            fn read(
                node: $crate::config::reader::Node<'_>,
                reader: &mut $crate::config::reader::Reader<'_>,
            ) -> Option<Self> {
                let read = node.value.get_ref().as_str().and_then(Self::from_name);
                read.or_else(|| reader.mismatch(&node))
            }

            fn render(&self, _: &$crate::config::schema::Kind) -> String {
                format!("\"{}\"", self.name())
            }
        }
    };
}

pub(super) use {choice, section};
