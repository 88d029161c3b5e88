//! What the names of a module stand for, as far as type hints and defaults use them: its classes, its aliases and
//! constants, and what it imports under another name. Only the top level counts, as for the tool itself.

use std::{cell::Cell, collections::HashMap};

use ruff_python_ast::{Expr, Stmt, StmtClassDef};

/// What evaluating the constants of one module may cost, in values and in pieces of 64 bytes of text. A name can stand
/// for a list of names for lists, so a short source could otherwise take for ever.
const MAX_CONSTANTS: usize = 100_000;

/// The names of one module.
#[derive(Debug)]
pub(super) struct Names<'m> {
    classes: HashMap<&'m str, &'m StmtClassDef>,
    values: HashMap<&'m str, &'m Expr>,
    imported: HashMap<&'m str, &'m str>,
    left: Cell<usize>,
}

impl<'m> Names<'m> {
    /// Collects them; a later definition replaces an earlier one.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "over statements: the others define no such name"
    )]
    pub(super) fn of(body: &'m [Stmt]) -> Self {
        let mut names = Self {
            classes: HashMap::new(),
            values: HashMap::new(),
            imported: HashMap::new(),
            left: Cell::new(MAX_CONSTANTS),
        };
        for statement in body {
            match statement {
                Stmt::ClassDef(class) => {
                    names.classes.insert(&class.name, class);
                }
                Stmt::Assign(assign) => {
                    for target in assign.targets.iter().filter_map(Expr::as_name_expr) {
                        names.values.insert(&target.id, &assign.value);
                    }
                }
                Stmt::AnnAssign(assign) => {
                    if let (Some(target), Some(value)) =
                        (assign.target.as_name_expr(), &assign.value)
                    {
                        names.values.insert(&target.id, value);
                    }
                }
                Stmt::TypeAlias(alias) if alias.type_params.is_none() => {
                    if let Some(target) = alias.name.as_name_expr() {
                        names.values.insert(&target.id, &alias.value);
                    }
                }
                Stmt::ImportFrom(import) => {
                    for alias in &import.names {
                        if let Some(other) = &alias.asname {
                            names.imported.insert(other, &alias.name);
                        }
                    }
                }
                _ => {}
            }
        }
        names
    }

    /// Takes from what evaluating constants may cost; `None` once it is spent.
    pub(super) fn spend(&self, cost: usize) -> Option<()> {
        let left = self.left.get().checked_sub(cost);
        self.left.set(left.unwrap_or(0));
        left.map(|_| ())
    }

    /// The class of this name.
    pub(super) fn class(&self, name: &str) -> Option<&'m StmtClassDef> {
        self.classes.get(name).copied()
    }

    /// What the name was set to.
    pub(super) fn value(&self, name: &str) -> Option<&'m Expr> {
        self.values.get(name).copied()
    }

    /// The name by which an expression is known where it comes from: `List` for `typing.List`, and for `L` after
    /// `from typing import List as L`.
    pub(super) fn original<'e>(&self, expression: &'e Expr) -> Option<&'e str>
    where
        'm: 'e,
    {
        if let Some(name) = expression.as_name_expr() {
            let name = name.id.as_str();
            return Some(self.imported.get(name).copied().unwrap_or(name));
        }
        expression.as_attribute_expr().map(|attribute| attribute.attr.as_str())
    }
}

/// The values of a call's argument: by keyword, or the first without one.
pub(super) fn keyword<'e>(call: &'e ruff_python_ast::ExprCall, name: &str) -> Option<&'e Expr> {
    let named = |keyword: &&ruff_python_ast::Keyword| {
        keyword.arg.as_ref().is_some_and(|arg| arg.as_str() == name)
    };
    call.arguments.keywords.iter().find(named).map(|keyword| &keyword.value)
}
