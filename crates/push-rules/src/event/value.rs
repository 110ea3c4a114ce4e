//! The properties of an event.

use std::{borrow::Cow, sync::OnceLock};

use crate::{Scalar, fold::fold};

/// A value of a property, as far as conditions can tell values apart.
#[derive(Debug)]
pub(crate) enum Value<'e> {
    Null,
    Bool(bool),
    Integer(i64),
    Text(Text<'e>),
    /// The scalars of an array, sorted.
    List(Vec<Scalar<'e>>),
    Object(Object<'e>),
    /// A number that is no canonical integer, or what is nested too deep.
    Other,
}

/// A string, which is brought into one case when the first condition asks for it.
#[derive(Debug)]
pub(crate) struct Text<'e> {
    raw: Cow<'e, str>,
    /// `None` when it is in one case already.
    folded: OnceLock<Option<Box<str>>>,
}

/// An object, as its members sorted by name.
#[derive(Debug, Default)]
pub(crate) struct Object<'e>(Vec<(Cow<'e, str>, Value<'e>)>);

impl<'e> Value<'e> {
    pub(crate) fn as_text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(&text.raw) } else { None }
    }

    pub(crate) fn as_folded(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text.folded()) } else { None }
    }

    pub(crate) fn as_list(&self) -> Option<&[Scalar<'e>]> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    pub(crate) fn is(&self, scalar: &Scalar<'_>) -> bool {
        match (self, scalar) {
            (Self::Null, Scalar::Null) => true,
            (Self::Bool(value), Scalar::Bool(other)) => value == other,
            (Self::Integer(value), Scalar::Integer(other)) => value == other,
            (Self::Text(text), Scalar::Text(other)) => text.raw == *other,
            _ => false,
        }
    }

    pub(crate) fn contains(&self, scalar: &Scalar<'_>) -> bool {
        self.as_list().is_some_and(|list| list.binary_search(scalar).is_ok())
    }
}

impl<'e> Text<'e> {
    pub(crate) const fn new(raw: Cow<'e, str>) -> Self {
        Self { raw, folded: OnceLock::new() }
    }

    pub(crate) const fn raw(&self) -> &Cow<'e, str> {
        &self.raw
    }

    fn folded(&self) -> &str {
        let folded = self.folded.get_or_init(|| match fold(&self.raw) {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => Some(text.into()),
        });
        folded.as_deref().unwrap_or(&self.raw)
    }
}

impl<'e> Object<'e> {
    /// Of members with the same name the last one counts.
    pub(crate) fn new(mut members: Vec<(Cow<'e, str>, Value<'e>)>) -> Self {
        if !members.is_sorted_by(|(one, _), (next, _)| one < next) {
            members.reverse();
            members.sort_by(|(one, _), (other, _)| one.cmp(other));
            members.dedup_by(|(later, _), (earlier, _)| later == earlier);
        }
        Self(members)
    }

    fn place(&self, name: &str) -> Option<usize> {
        self.0.binary_search_by(|(member, _)| member.as_ref().cmp(name)).ok()
    }

    fn value(&self, name: &str) -> Option<&Value<'e>> {
        self.place(name).and_then(|place| self.0.get(place)).map(|(_, value)| value)
    }

    pub(crate) fn remove(&mut self, name: &str) {
        if let Some(place) = self.place(name) {
            self.0.remove(place);
        }
    }

    /// Takes a value out, unless it is an object, on whose properties paths may go on.
    pub(crate) fn take_leaf(&mut self, name: &str) -> Option<Value<'e>> {
        let place = self.place(name)?;
        let is_leaf = !matches!(self.0.get(place), Some((_, Value::Object(_))));
        is_leaf.then(|| self.0.remove(place).1)
    }

    pub(crate) fn object_mut(&mut self, name: &str) -> Option<&mut Self> {
        let place = self.place(name)?;
        match self.0.get_mut(place) {
            Some((_, Value::Object(object))) => Some(object),
            _ => None,
        }
    }

    /// The value at a path of names.
    pub(crate) fn at<N: AsRef<str>>(&self, names: impl IntoIterator<Item = N>) -> Option<&Value<'e>> {
        let mut names = names.into_iter();
        let first = self.value(names.next()?.as_ref())?;
        names.try_fold(first, |value, name| match value {
            Value::Object(object) => object.value(name.as_ref()),
            _ => None,
        })
    }
}
