//! The tests of the suite by name, for a module that runs them on its database.

/// Makes each named function of the suite a test on a new database.
macro_rules! suite {
    ($database:expr; $($module:ident: $($test:ident),+ $(,)?;)+) => {
        $(mod $module {
            use super::*;

            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() {
                crate::$module::$test($database).await;
            })+
        })+
    };
}

pub(crate) use suite;

/// The contract of `Store`.
macro_rules! store_suite {
    ($database:expr) => {
        crate::all::suite! { $database;
            store:
                append_is_complete_after_reopening,
                dropped_append_writes_nothing,
                append_on_a_wrong_cursor_writes_nothing,
                colliding_row_is_corrupt,
                begin_returns_known_statements,
                one_append_at_a_time,
                abandoned_append_is_complete_or_absent,
                entries_are_found_by_offset,
                heads_lines_exist_for_every_size,
                changed_streams_are_listed,
                nodes_of_all_levels_are_stored,
                checkpoint_and_publication_never_go_back,
                ledgers_do_not_see_each_other,
                another_genesis_is_refused,
                open_existing_begins_no_ledger,
                one_publisher_at_a_time;
        }
    };
}

pub(crate) use store_suite;

/// All tests of the suite.
macro_rules! whole_suite {
    ($database:expr) => {
        crate::all::store_suite!($database);
        crate::all::suite! { $database;
            service:
                begins_the_chain_and_serves_a_log_that_verifies,
                appends_and_answers_again_with_the_same_entry,
                accepts_the_prefix_before_a_refusal,
                refuses_each_wrong_statement_with_its_code,
                refuses_malformed_statements_with_a_code,
                refuses_invalid_requests,
                serves_entries_by_stream_and_offset,
                appends_heads_statements,
                continues_after_a_restart,
                groups_waiting_requests,
                without_a_log_key_it_only_appends_and_serves;
            safety:
                old_copy_of_the_database_is_not_signed,
                rollback_while_running_stops_appending,
                changed_entry_is_not_signed,
                rolled_back_stream_is_not_signed,
                database_behind_its_checkpoint_stops_appending,
                changed_stream_row_admits_no_statement,
                row_changed_after_another_committer_admits_no_statement,
                revoked_log_key_stops_signing,
                granted_log_key_takes_over,
                log_key_takes_over_from_a_distrusted_one,
                log_key_without_high_water_file_signs_nothing,
                nothing_is_signed_without_a_writable_high_water_file,
                key_of_another_role_is_refused,
                differing_clocks_stop_appending,
                two_committers_cover_every_offset_once;
            damage:
                corrupt_entries_and_tiles_are_not_served,
                forged_checkpoint_is_not_served;
            fsck:
                sound_database_passes,
                changed_entry_is_named,
                removed_entry_is_named,
                added_entry_is_named,
                column_that_differs_from_its_entry_is_named,
                changed_tree_node_is_named,
                changed_streams_and_checkpoints_are_named,
                forged_tail_is_named;
        }
    };
}

pub(crate) use whole_suite;
