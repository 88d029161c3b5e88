//! What a model is given to read: the compiled system text, the stock texts, and the history in a provider's terms.

pub(crate) mod compile;
pub(crate) mod note;
pub(crate) mod request;
pub(crate) mod stock;
pub(crate) mod system;
pub(crate) mod transcript;
mod view;

pub(crate) use view::StepView;
