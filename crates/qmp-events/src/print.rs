//! Prints typed data as a QEMU does: the members of an object in the order of its hash table.
//!
//! The order is computed when the code is generated, so that printing needs no look-up and no sorting. The printer
//! defines the syntax of members and values: the server of a monitor implements [`Printer`].

use serde::Serialize;

/// Prints JSON in the format of a QEMU.
pub trait Printer {
    /// Prints an object, whose members are printed by `members`.
    fn object(&mut self, members: impl FnOnce(&mut Self));

    /// Prints a member, or leaves it out. The member comes after all members of the object that were printed
    /// before; its name needs no escapes.
    fn member(&mut self, name: &'static str, value: &impl Print);

    /// Prints any other value: one without members, or with members in an order other than QEMU's.
    fn other(&mut self, value: &impl Serialize);
}

/// A value that can be printed in the format of a QEMU.
pub trait Print: Serialize {
    /// Prints the value.
    fn print<P: Printer>(&self, printer: &mut P)
    where
        Self: Sized,
    {
        printer.other(self);
    }

    /// Prints the value as a member of an object.
    fn print_member<P: Printer>(&self, name: &'static str, printer: &mut P)
    where
        Self: Sized,
    {
        printer.member(name, self);
    }
}

impl<T: Print> Print for Option<T> {
    /// Prints nothing if there is no value.
    fn print_member<P: Printer>(&self, name: &'static str, printer: &mut P) {
        if let Some(value) = self {
            value.print_member(name, printer);
        }
    }
}

macro_rules! print_as_serialized {
    ($($ty:ty,)*) => {
        $(impl Print for $ty {})*
    };
}

print_as_serialized! {
    Box<str>, bool, (), f64, i8, i16, i32, i64, u8, u16, u32, u64,
}

impl<T: Print> Print for Vec<T> {}
