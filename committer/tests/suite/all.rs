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
                an_append_is_there_whole_and_after_reopening,
                an_append_that_is_dropped_is_not_there,
                an_append_on_a_cursor_that_is_not_there_is_refused_whole,
                a_row_in_the_way_is_damage,
                known_statements_are_told,
                one_append_at_a_time,
                an_append_that_is_abandoned_is_there_whole_or_not_at_all,
                entries_are_found_by_what_they_cover,
                heads_lines_are_those_of_any_size,
                what_an_append_changed_is_told,
                nodes_of_all_levels_are_kept,
                checkpoint_and_publication_never_go_back,
                ledgers_do_not_see_each_other,
                another_genesis_is_refused,
                what_is_not_there_is_not_begun_when_only_looked_for,
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
                refuses_what_is_no_statement_with_its_code,
                refuses_requests_that_are_none,
                serves_entries_by_stream_and_offset,
                states_where_all_streams_stand,
                goes_on_after_a_restart,
                groups_what_waits,
                without_a_log_key_it_only_appends_and_serves;
            trouble:
                an_old_copy_of_the_database_is_not_signed_for,
                a_database_that_goes_back_while_in_use_is_not_appended_to,
                a_changed_entry_is_not_signed_over,
                a_stream_that_was_put_back_is_not_signed_for,
                a_database_behind_its_own_checkpoint_is_not_appended_to,
                a_changed_row_of_a_stream_lets_nothing_in,
                a_row_changed_after_another_committer_moved_it_lets_nothing_in,
                a_revoked_log_key_signs_no_more,
                a_granted_log_key_takes_over,
                a_log_key_takes_over_from_one_that_is_distrusted,
                no_log_key_begins_where_another_signed,
                nothing_is_signed_that_cannot_be_remembered,
                a_key_that_is_no_log_key_is_refused,
                clocks_that_differ_stop_appending,
                two_committers_cover_every_offset_once;
            damage:
                damaged_entries_and_tiles_are_not_served,
                a_checkpoint_without_a_good_signature_is_neither_served_nor_ready;
            fsck:
                a_sound_database_is_sound,
                a_changed_entry_is_named,
                a_removed_entry_is_named,
                an_added_entry_is_named,
                a_column_that_contradicts_its_entry_is_named,
                a_changed_tree_node_is_named,
                changed_streams_and_checkpoints_are_named,
                a_forged_tail_is_named;
        }
    };
}

pub(crate) use whole_suite;
