//! The traits that a place where data lives implements.
