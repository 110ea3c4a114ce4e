use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::values::{ByteSize, size_between, whole_number};

/// Login by password. Passwords are kept as argon2id hashes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Passwords {
    /// Whether accounts can log in by password at all.
    pub enabled: bool,
    /// Memory that one hash takes; more is safer and slower.
    #[serde(deserialize_with = "size_between::<_, 8_192, 1_073_741_824>")]
    pub hash_memory: ByteSize,
    /// Passes over that memory.
    #[serde(deserialize_with = "whole_number::<_, 1, 100>")]
    #[schemars(range(min = 1, max = 100))]
    pub hash_iterations: u32,
    /// The least length of a password that a user chooses, in characters. What administrators choose for others is not checked.
    #[serde(deserialize_with = "whole_number::<_, 1, 128>")]
    #[schemars(range(min = 1, max = 128))]
    pub minimum_length: u32,
    /// How hard it must be to guess, as zxcvbn estimates it: from 0 (no demand) by 3 (safe against many guesses on a stolen
    /// database) to 4.
    #[serde(deserialize_with = "whole_number::<_, 0, 4>")]
    #[schemars(range(min = 0, max = 4))]
    pub minimum_score: u32,
}

impl Default for Passwords {
    fn default() -> Self {
        Self {
            enabled: true,
            hash_memory: ByteSize::from_mib(19),
            hash_iterations: 2,
            minimum_length: 6,
            minimum_score: 0,
        }
    }
}
