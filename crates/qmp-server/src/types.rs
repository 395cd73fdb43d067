//! Types of arguments and of return values, as in QAPI: to check a client's arguments, and for introspection.

/// A QAPI type.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "the names are QAPI's")]
pub enum Type {
    Str,
    Bool,
    Number,
    Int,
    Int8,
    Int16,
    Int32,
    Int64,
    Uint8,
    Uint16,
    Uint32,
    Uint64,
    Size,
    Any,
    Null,
    Enum(EnumType),
    Array(Box<Type>),
    Object(ObjectType),
    Alternate(AlternateType),
}

/// A set of strings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EnumType {
    /// Name in QAPI; not on the wire.
    pub name: Box<str>,
    /// The strings.
    pub values: Vec<Box<str>>,
}

/// An object: members, and with a tag further ones for some of its values.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct ObjectType {
    /// Name in QAPI; not on the wire. Types of one name are one type.
    pub name: Box<str>,
    /// The members, in the order in which they are checked.
    pub members: Vec<Member>,
    /// The member whose value selects a branch, and the branches.
    pub variants: Option<Variants>,
}

/// Further members of an object, by the value of one member.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Variants {
    /// The member whose value selects a branch.
    pub tag: Box<str>,
    /// The values of the tag that add members, and those members.
    pub branches: Vec<(Box<str>, ObjectType)>,
}

/// A member of an object.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Member {
    /// Name on the wire.
    pub name: Box<str>,
    /// Type of its value.
    pub ty: Type,
    /// Whether it may be absent.
    pub optional: bool,
}

/// One of several types, distinguished by the JSON kind of the value.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AlternateType {
    /// Name in QAPI; used in the error for a value of another kind.
    pub name: Box<str>,
    /// The types.
    pub types: Vec<Type>,
}

impl Type {
    /// Creates an enum of that name with these values.
    #[must_use]
    pub fn one_of<const N: usize>(name: &str, values: [&str; N]) -> Self {
        EnumType::new(name, values).into()
    }

    /// Creates a list.
    #[must_use]
    pub fn list(element: impl Into<Self>) -> Self {
        Self::Array(Box::new(element.into()))
    }

    /// Creates an alternate of that name with these types.
    #[must_use]
    pub fn alternate<const N: usize>(name: &str, types: [Type; N]) -> Self {
        Self::Alternate(AlternateType { name: name.into(), types: types.into() })
    }
}

impl EnumType {
    /// Creates an enum of that name with these values.
    #[must_use]
    pub fn new<'a>(name: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        Self { name: name.into(), values: values.into_iter().map(Box::from).collect() }
    }
}

impl From<EnumType> for Type {
    fn from(values: EnumType) -> Self {
        Self::Enum(values)
    }
}

impl From<ObjectType> for Type {
    fn from(object: ObjectType) -> Self {
        Self::Object(object)
    }
}

impl ObjectType {
    /// Creates an object type of that name, without members.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self { name: name.into(), ..Self::default() }
    }

    /// Adds a mandatory member.
    #[must_use]
    pub fn required(self, name: &str, ty: impl Into<Type>) -> Self {
        self.member(name, ty.into(), false)
    }

    /// Adds an optional member.
    #[must_use]
    pub fn optional(self, name: &str, ty: impl Into<Type>) -> Self {
        self.member(name, ty.into(), true)
    }

    /// Adds the members of `branch` if the member `tag` is `value`.
    #[must_use]
    pub fn variant(mut self, tag: &str, value: &str, branch: ObjectType) -> Self {
        let variants = Variants { tag: tag.into(), branches: Vec::new() };
        self.variants.get_or_insert(variants).branches.push((value.into(), branch));
        self
    }

    fn member(mut self, name: &str, ty: Type, optional: bool) -> Self {
        self.members.push(Member { name: name.into(), ty, optional });
        self
    }
}
