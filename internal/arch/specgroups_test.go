package arch

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// groupsAndConsumers are the rules of consumers, groups of both protocols, assignors and committed offsets.
var groupsAndConsumers = []specRule{
	{"1.1", "defaults", "consumer: TestDefaultsAreKafkasButForThoseThatSayOtherwise; group: TestDefaultsOfGroupsAreKafkas"},
	{"1.1", "what is out of range is refused", "consumer: TestBadConfigIsRefusedByNameValueAndRange; group: TestConfigOutOfRangeNamesKeyValueAndRange TestOpenRefusesWhatCannotBe"},
	{"1.1", "heartbeat.interval.ms is less than session.timeout.ms", "group: TestOpenRefusesWhatCannotBe"},
	{"1.1", "auto.offset.reset: earliest, latest, none, by_duration", "consumer: TestOutOfRangePositionGoesWhereResetSays TestResetByDurationStartsAtTheFirstRecordThatIsNotOlder TestNoOffsetAndResetNoneRefusesToJoin"},
	{"1.1", "fetch.min.bytes and fetch.max.wait.ms", "consumer: TestConsumerWaitsForMinBytesNoLongerThanMaxWait TestConsumerReadsOnAsSoonAsMinBytesAreThere"},
	{"1.1", "exclude.internal.topics", "consumer: TestPatternMatchesWholeNamesOfTopicsThatAreNotInternal"},
	{"1.1", "with group.protocol=consumer sessions, heartbeats and assignors are the broker's", "cluster: a consumer whose coordinator is elsewhere"},
	{"1.1", "request timeouts, retries, buffers, idle connections", "cluster: a consumer whose coordinator is elsewhere"},
	{"1.1", "allow.auto.create.topics", "listener: how it reads requests of each version and tells errors"},

	{"1.2", "a position is the next offset to fetch, a committed offset the next to read", "consumer: TestPositionsAndBounds TestNextMemberResumesBehindTheCommittedOffset"},
	{"1.2", "a committed offset has the leader epoch of the last record", "consumer: TestCommittedLeaderEpochIsThatOfTheLastFinishedRecord"},
	{"1.2", "metadata of more than offset.metadata.max.bytes is OFFSET_METADATA_TOO_LARGE", "consumer: TestRecordIsCommittedWithItsEpochAndMetadata; groups: commit"},
	{"1.2", "a poll begins at the committed offset, else where the reset policy says", "consumer: TestNextMemberResumesBehindTheCommittedOffset TestGroupStartsAtLatestOnceAndSkipsNothingAfterwards"},
	{"1.2", "none without an offset is an error", "consumer: TestNoOffsetAndResetNoneRefusesToJoin"},
	{"1.2", "at most max.poll.records, in offset order of each partition", "consumer: TestPollReturnsAtMostMaxPollRecordsAndEOFAtTheBound TestReadAheadKeepsOrderOverManyFetches"},
	{"1.2", "the position advances when records are returned", "consumer: TestPolledRecordsAreFinishedByTheNextCall TestBreakLeavesTheRecordForTheNextLoop"},
	{"1.2", "returning data pipelines the next fetch", "consumer: TestWhatIsReadAheadIsAtMostPrefetchBytes"},
	{"1.2", "automatic commits are of what was returned before", "consumer: TestFinishedRecordsAreCommittedByInterval"},
	{"1.2", "and are made before partitions are given up", "consumer: TestRebalanceWaitsForTheRecordInHandAndDropsWhatWasReadAhead TestCommitInsideRevokedCounts"},
	{"1.2", "and at close", "consumer: TestCloseMatrix TestCloseWhileEnteringCommitsWhatIsFinished"},
	{"1.2", "commitSync waits until it is done", "consumer: TestCommitMakesFinishedRecordsDurableAtOnce"},
	{"1.2", "commitAsync is not tried again, and told in order", "consumer: TestAsynchronousCommitsAreMadeAndToldInOrder"},
	{"1.2", "ILLEGAL_GENERATION, UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID end a commit", "consumer: TestCommitsNameNobodyElsesPartitions TestSecondMemberOfTheSameNameFencesTheFirst"},
	{"1.2", "REBALANCE_IN_PROGRESS: the caller goes on polling", "consumer: TestKeptPartitionsAreReadThroughARebalance; groups: states"},
	{"1.2", "a commit is one batch: all of it or nothing", "group: TestLargeCommitIsOneBatch TestLargeCommitIsThereWhollyOrNotAtAllAfterAnyCrash TestCommitLargerThanABatchMayBeIsRefusedAndNothingOfItCounts"},
	{"1.2", "seek takes effect at the next poll and drops what was fetched", "consumer: TestSeekPauseAndResumeActAtTheNextStep"},
	{"1.2", "out of range: the reset policy, unless the position has changed meanwhile", "consumer: TestOutOfRangePositionGoesWhereResetSays TestOutOfRangeAnswerIsForgottenIfThePositionHasChangedMeanwhile"},
	{"1.2", "positions are validated when the leader epoch changes", "consumer: TestNewLeaderIsAskedForWhatWasRead"},
	{"1.2", "truncation: by policy, or an error with the safe offset", "consumer: TestOffsetBeyondALostTailIsToldAndReadingGoesOnAtTheDivergence TestLostTailWithResetNoneStopsUntilASeek"},
	{"1.2", "paused partitions keep the session and what was fetched", "consumer: TestSeekPauseAndResumeActAtTheNextStep TestConsumerWithEverythingPausedLearnsOfTheEndOfItsStore"},
	{"1.2", "a pause survives a cooperative rebalance", "consumer: TestKeptPartitionsAreReadThroughARebalance"},
	{"1.2", "assign and subscribe exclude each other", "consumer: TestSettingsOfTheOtherWayToReadAreRefused"},
	{"1.2", "a pattern is looked at again with the metadata", "consumer: TestTopicsThatComeAndGoChangeAPatternsSubscription"},
	{"1.2", "not for several goroutines at a time", "consumer: TestSecondLoopAtTheSameTimeIsRefused"},
	{"1.2", "a blocking call can be woken from anywhere", "consumer: TestCloseEndsALoopThatWaits TestEndlessIterationWaitsForRecordsAndEndsWithItsReason"},
	{"1.2", "close commits and leaves, static members only commit", "consumer: TestCloseMatrix TestStaticMemberThatComesBackHasItsPartitionsWithoutARebalance; groups: static_closes"},
	{"1.2", "past max.poll.interval.ms the member is out and told lost", "consumer: TestMemberThatKeepsItsRecordTooLongIsExpelledWithATypedLastPair TestMemberThatWasRemovedIsToldLostAndComesBack"},
	{"1.2", "partitions take turns", "consumer: TestHotPartitionDoesNotStarveTheOthers TestMinBytesAreThoseOfAllPartitionsTogether"},
	{"1.2", "damage is an error with the offset, and may be passed", "consumer: TestDamagedRangeOnDiskIsPassedOnceWithSkip TestDamagedRangeOnDiskStopsAndThePositionStays TestBatchThatCannotBeWalkedIsDamage"},

	{"1.3", "revoked before, assigned after, also when nothing is new", "consumer: TestListenerIsToldAsKafkaTells"},
	{"1.3", "eager: everything, before the join; cooperative: what goes, after the sync, and another rebalance", "consumer: TestListenerIsToldAsKafkaTells"},
	{"1.3", "lost when it is too late, revoked if nobody listens for that", "consumer: TestMemberThatWasRemovedIsToldLostAndComesBack"},
	{"1.3", "a commit inside revoked counts", "consumer: TestCommitInsideRevokedCounts"},
	{"1.3", "cooperative members never share a partition and skip nothing", "consumer: TestCooperativeMembersNeverShareAPartitionAndSkipNothing"},
	{"1.3", "callbacks run inside poll", "differs: a member's own goroutine calls them, while the loop gives it the turn; consumer: TestListenerIsToldAsKafkaTells TestCommitInsideRevokedCounts"},

	{"2.1", "partition of __consumer_offsets by Java's hash", "group: TestPartitionForIsJavasHash"},
	{"2.1", "the topic's settings", "partition: TestInternalTopicsAreClosedToOrdinaryProducers"},
	{"2.1", "states: join, sync, heartbeat and commit in each", "groups: states"},
	{"2.1", "Dead answers COORDINATOR_NOT_AVAILABLE", "groups: states stop"},
	{"2.1", "any events in any order", "group: TestMachineKeepsItsPromisesUnderAnyEvents TestEveryPartitionHasOneOwnerInAGeneration TestMembersComingAndGoingNeverShareAPartition"},
	{"2.1", "COORDINATOR_LOAD_IN_PROGRESS while loading", "listener: how it reads requests of each version and tells errors"},
	{"2.1", "FindCoordinator", "listener: how it reads requests of each version and tells errors"},

	{"2.2", "join: INVALID_GROUP_ID for the empty id, but not for commits", "group: TestEmptyGroupIDIsForOffsetsOnly"},
	{"2.2", "join: INVALID_SESSION_TIMEOUT out of bounds", "groups: session_bounds"},
	{"2.2", "join: a member id in an unknown group is UNKNOWN_MEMBER_ID", "groups: commit_unknown_group states"},
	{"2.2", "join: GROUP_MAX_SIZE_REACHED", "groups: full_group"},
	{"2.2", "join: INCONSISTENT_GROUP_PROTOCOL without a common one, or of another type", "groups: vote"},
	{"2.2", "join: a rebalance timeout of -1 is the session timeout", "groups: rebalance_timeout"},
	{"2.2", "join: MEMBER_ID_REQUIRED for a new dynamic member, whose id is pending until then", "groups: member_id_required; group: TestFirstJoinOverTheWireGetsAnIDToComeBackWith"},
	{"2.2", "join: a pending id delays the rebalance, and expires after its session timeout", "groups: member_id_required pending_id_ends_wait"},
	{"2.2", "join: older versions join at once", "groups: first_member second_member"},
	{"2.2", "join: a new static instance is a member", "groups: static_restart"},
	{"2.2", "join: a known one replaces the old member id, which is fenced", "groups: static_fencing static_replaced_twice; group: TestReplacementsAreTold"},
	{"2.2", "join: Stable and the same protocol: persisted, and no rebalance", "groups: static_restart static_not_written static_rebalance_while_written"},
	{"2.2", "join: a leader that comes back skips the assignment", "groups: static_leader_restart; consumer: TestStaticLeaderThatComesBackSeesWhatHasComeMeanwhile"},
	{"2.2", "join: another protocol: rebalance", "groups: static_other_protocol"},
	{"2.2", "join: CompletingRebalance: rebalance", "groups: static_replaced_while_syncing"},
	{"2.2", "join: PreparingRebalance: park", "groups: static_replaced_while_joining"},
	{"2.2", "join: instance and member id that do not belong together are FENCED_INSTANCE_ID", "groups: static_fencing"},
	{"2.2", "join: a member joins again", "groups: rejoin joins_twice withdraw"},
	{"2.2", "join: the first to join leads, then any other; at the end of the wait one that has joined", "groups: leader_dies leader_does_not_rejoin"},
	{"2.2", "join: the vote for a protocol", "groups: vote"},

	{"2.2", "timing: the initial delay begins again while members come, up to the longest rebalance timeout", "groups: initial_delay initial_delay_alone"},
	{"2.2", "timing: complete when all have joined and none is pending, or after the longest rebalance timeout", "groups: second_member late_joiner member_id_required rebalance_timeout"},
	{"2.2", "timing: dynamic members that have not joined go, static ones stay", "groups: late_joiner static_does_not_rejoin"},
	{"2.2", "timing: if nobody has joined the wait begins again", "groups: static_nobody_rejoins"},
	{"2.2", "timing: without members the group is Empty, and its record says so", "groups: leave states"},
	{"2.2", "timing: the leader gets all members' metadata", "groups: second_member"},
	{"2.2", "timing: who does not sync within the rebalance timeout is out", "groups: late_sync"},
	{"2.2", "timing: a new member has 5 minutes in its first join", "groups: new_member_timeout"},
	{"2.2", "timing: join, sync, heartbeat and commit restart the session", "groups: session heartbeat_while_preparing commit_while_preparing; group: TestSilentMemberOverTheWireExpiresAndOneOfTheProcessDoesNot"},
	{"2.2", "timing: a parked member does not expire", "groups: session_parked session_during_sync"},
	{"2.2", "timing: an expired one is removed, and the others rebalance", "groups: session static_session"},

	{"2.2", "sync, heartbeat, leave: UNKNOWN_MEMBER_ID and ILLEGAL_GENERATION", "groups: second_member states"},
	{"2.2", "sync, heartbeat, leave: INCONSISTENT_GROUP_PROTOCOL for another type or name", "groups: sync_other_protocol"},
	{"2.2", "sync, heartbeat, leave: who is left out by the leader gets nothing; a failed write is everybody's answer, and a rebalance", "groups: assignment_not_written; group: TestAssignmentLargerThanABatchMayBeIsRefusedAndTheGroupRebalances"},
	{"2.2", "sync, heartbeat, leave: the leader's assignment is asked for again", "groups: leader_sync_lost"},
	{"2.2", "sync, heartbeat, leave: a rebalance answers parked syncs with REBALANCE_IN_PROGRESS", "groups: rebalance_during_sync"},
	{"2.2", "sync, heartbeat, leave: several leave together, by member or instance id; one rebalance", "groups: leave leave_several static_leave leave_while_preparing"},
	{"2.2", "sync, heartbeat, leave: errors of the log by their names on the wire", "listener: how it reads requests of each version and tells errors"},

	{"2.2", "clients: UNKNOWN_MEMBER_ID: a new member", "consumer: TestMemberThatWasRemovedIsToldLostAndComesBack"},
	{"2.2", "clients: ILLEGAL_GENERATION and REBALANCE_IN_PROGRESS: join again", "consumer: TestMembersThatComeAndGoReadEveryRecordOnce TestMembersSplitThePartitionsAndReadEverythingOnce"},
	{"2.2", "clients: FENCED_INSTANCE_ID is fatal", "consumer: TestSecondMemberOfTheSameNameFencesTheFirst"},
	{"2.2", "clients: NOT_COORDINATOR: find it; the join's timeout is the rebalance's and 5 s", "cluster: a consumer whose coordinator is elsewhere"},

	{"2.3", "subscriptions v0 to v3, assignments", "group: TestSubscriptionBytesAreKafkas TestAssignmentBytesAreKafkas TestConsumerProtocolIsKafkas TestSubscriptionKeepsRackAndUserData"},
	{"2.3", "a higher version is read as the newest known", "group: TestSubscriptionOfAFutureVersionIsReadAsTheNewestKnown"},
	{"2.3", "cut bytes are errors", "group: TestCutSubscriptionsAndAssignmentsAreErrors FuzzDecodeSubscription FuzzDecodeAssignment"},
	{"2.3", "cooperative if all assignors are", "group: TestTheGroupRebalancesCooperativelyIfAllItsAssignorsDo; consumer: TestEagerAndCooperativeMembersAreOneGroup"},

	{"2.4", "all of them answer as Kafka's do", "group: TestAssignorsAnswerAsKafkaDid TestAssignorsAnswerAsKafkaDoes TestScenariosAreWhatTheySay"},
	{"2.4", "static members first, by instance id", "group: TestStaticMembersComeFirst"},
	{"2.4", "range: contiguous, the first get one more; racks, co-partitioning", "group: TestRangeAssignsLikeKafka TestRangeCoversEveryPartitionOnceAndEvenly TestAssignorsAnswerAsKafkaDid"},
	{"2.4", "round robin", "group: TestAssignorsAnswerAsKafkaDid TestAssignorsKeepTheirPromises"},
	{"2.4", "sticky: balance, then stickiness; user data v0 and v1", "group: TestStickyMovesNothingWithoutNeed TestStickyMovesAsLittleAsBalanceAllows TestStickyUserDataIsKafkas"},
	{"2.4", "cooperative sticky: nothing that another still owns", "group: TestCooperativePartitionsAreNeverOwnedTwice; consumer: TestCooperativeMembersNeverShareAPartitionAndSkipNothing"},
	{"2.4", "an assignment covers subscribed topics only", "group: TestAHostsAssignorIsHeldToItsPromises TestAssignorsKeepTheirPromises"},

	{"3", "records: offset keys and values v0 to v4; v1 only with a retention of its own", "group: TestOffsetRecordsAreKafkasInEveryVersion TestOffsetRecordCarriesTheTopicsID; groups: expire_retention"},
	{"3", "records: group keys and values", "group: TestGroupRecordsAreKafkas TestTombstonesSayWhatTheyDelete"},
	{"3", "records: unknown types and versions are skipped", "group: TestRecordsOfUnknownTypesAndVersionsAreSkipped TestRecordsOfConsumerGroupsWithUnknownFieldsAreRead"},
	{"3", "records: Kafka reads ours, and we Kafka's", "group: TestGoldenPartitionSaysWhatKafkasDumpSays TestGoldenPartitionIsLoaded TestGroupsOfABrokerGoOnInAStore"},
	{"3", "records: loading: from the log start, transactions by their markers", "groups: txn_restart compacted; group: TestCompactedOffsetsTopicLoadsTheSame TestGroupsOfABrokerWithHolesInTheOffsetsTopicAreFound"},
	{"3", "records: a restored member has its whole session", "groups: restart_wire"},
	{"3", "records: a group record is written when Empty, Stable, and for a static member's return", "groups: leave first_member static_restart"},
	{"3", "records: damage costs what it hits, and is named", "group: TestCorruptRecordIsNamedAndTheRestLoads TestDamageInTheOffsetsTopicCostsOnlyWhatItHits TestEveryCutOfARecordIsAnError"},

	{"3", "OffsetCommit: below generation 0 and Empty: accepted", "groups: commit states"},
	{"3", "OffsetCommit: else member, instance and generation are checked", "groups: commit static_fencing; group: TestZombieCannotCommitInATransaction"},
	{"3", "OffsetCommit: CompletingRebalance: REBALANCE_IN_PROGRESS, but not in a transaction", "groups: states txn_members"},
	{"3", "OffsetCommit: PreparingRebalance: accepted, and a sign of life", "groups: commit_while_preparing"},
	{"3", "OffsetCommit: an unknown group: a simple one below generation 0, else ILLEGAL_GENERATION or GROUP_ID_NOT_FOUND", "groups: commit commit_unknown_group"},
	{"3", "OffsetCommit: in a transaction: from the marker on, or never", "groups: txn_commit txn_abort txn_next txn_order txn_two_producers; group: TestOffsetsOfATransactionCountFromItsEnd TestOffsetsOfTheNextTransactionDoNotReplaceThoseBeforeTheMarker"},
	{"3", "OffsetCommit: unknown partitions are refused one by one", "group: TestCommitToWhatDoesNotExistIsRefused"},
	{"3", "OffsetCommit: what is acknowledged is not lost, nor goes back", "group: TestNoCommittedOffsetIsLostOrGoesBackAfterAnyCrash TestAcknowledgedCommitsSurvivePowerLossAndKill TestCommitsSurviveARestart"},
	{"3", "OffsetCommit: offsets.commit.timeout.ms", "replication: how long an append may wait for others"},

	{"3", "OffsetFetch: what is not there is no error; null asks for all", "group: TestCommitsSurviveARestart"},
	{"3", "OffsetFetch: RequireStable: UNSTABLE_OFFSET_COMMIT", "group: TestOffsetsOfATransactionCountFromItsEnd TestTransactionOverSeveralGroupsIsWhole"},
	{"3", "OffsetFetch: a member id and epoch are checked", "group: TestConsumerGroupInAStore"},
	{"3", "OffsetFetch: topic ids", "group: TestARecreatedTopicDoesNotInheritOffsets; consumer: TestRecreatedTopicDoesNotInheritCommittedOffsets"},
	{"3", "OffsetFetch: -1 for what is not there, many groups in a request", "listener: how it reads requests of each version and tells errors"},

	{"3", "expiry and deletion: Empty: by the time of that", "groups: expire_empty"},
	{"3", "expiry and deletion: Stable: by the commit, for topics that nobody reads", "groups: expire_unsubscribed"},
	{"3", "expiry and deletion: no protocol type: by the commit", "groups: expire_standalone"},
	{"3", "expiry and deletion: a retention of the commit's own", "groups: expire_retention"},
	{"3", "expiry and deletion: new protocol: by the commit, for topics that nobody reads", "nextgen: expire"},
	{"3", "expiry and deletion: not with an offset in an open transaction", "groups: expire_transaction"},
	{"3", "expiry and deletion: the group goes with its last offset", "groups: expire_empty expire_not_written"},
	{"3", "expiry and deletion: off by default, Kafka's if configured", "group: TestOffsetsExpireOnlyIfConfigured"},
	{"3", "expiry and deletion: DeleteGroups: NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND", "groups: delete_group delete_group_meanwhile; nextgen: delete_group delete_group_meanwhile delete_group_waits; group: TestDeletedGroupsAndOffsetsStayDeleted TestDeletedGroupDoesNotComeBackWithATransaction"},
	{"3", "expiry and deletion: OffsetDelete: GROUP_SUBSCRIBED_TO_TOPIC", "groups: delete_offsets delete_offsets_unknown"},
	{"3", "expiry and deletion: a group without offsets is there until it is deleted or expires", "groups: delete_offsets_last"},
	{"3", "expiry and deletion: a deleted topic takes its offsets along", "groups: deleted_topic; group: TestARecreatedTopicDoesNotInheritOffsets"},
	{"3", "expiry and deletion: what expires needs not be one batch", "group: TestWhatNeedNotBeWholeIsWrittenInParts"},

	{"4.1", "what is no heartbeat is INVALID_REQUEST", "nextgen: invalid; group: TestHeartbeatOfAConsumerGroupIsChecked"},
	{"4.1", "UNSUPPORTED_ASSIGNOR, INVALID_REGULAR_EXPRESSION, GROUP_MAX_SIZE_REACHED", "group: TestHeartbeatOfAConsumerGroupIsChecked; nextgen: regex_invalid full_group"},
	{"4.1", "null is unchanged", "nextgen: second_member subscription"},
	{"4.1", "the assignment is told when joining, on a full request, and when it has changed", "nextgen: first_member lost_answer second_member full_request"},
	{"4.1", "who is not there is UNKNOWN_MEMBER_ID", "nextgen: unknown"},

	{"4.2", "the group's moves with members, subscriptions, expressions and topics", "nextgen: second_member leave subscription partitions_added topic_appears topic_deleted regex"},
	{"4.2", "the assignment's follows, not more often than the interval", "nextgen: assignment_interval clock_set_back"},
	{"4.2", "a member's is what it has got to", "nextgen: second_member target_moves_on"},
	{"4.2", "0 joins again", "nextgen: lost_join_answer rejoin_while_known"},
	{"4.2", "above: FENCED_MEMBER_EPOCH; below: only the one before, with no more than its own", "nextgen: fenced_epochs lost_answer"},
	{"4.2", "UNRELEASED_INSTANCE_ID while the other is alive", "nextgen: static_unreleased"},
	{"4.2", "a static member that left for a while is replaced and inherited", "nextgen: static_restart static_other_subscription static_changes_protocol"},
	{"4.2", "the replaced one is FENCED_INSTANCE_ID", "nextgen: static_restart"},

	{"4.3", "first what is to be revoked, until the owned list shows it", "nextgen: second_member revocation_in_time revocation_called_off"},
	{"4.3", "who does not in its rebalance timeout is fenced", "nextgen: revocation_timeout"},
	{"4.3", "then what is free; the rest at later heartbeats", "nextgen: second_member different_subscriptions target_moves_on"},
	{"4.3", "nobody shares a partition", "group: TestNobodySharesAPartitionOfAConsumerGroup TestAnyLogOfAConsumerGroupIsSurvived"},
	{"4.3", "the group's states", "group: TestConsumerGroupInAStore; nextgen: assignment_interval"},
	{"4.3", "a session that ends, a member that leaves", "nextgen: session leave static_session static_leaves_for_good static_leaves_while_revoking removal_not_written"},
	{"4.3", "settings of one group", "group: TestOverridesOfOneConsumerGroup"},
	{"4.3", "expressions stand for what may be described (KAFKA-18813)", "nextgen: regex_rights"},
	{"4.3", "expressions are looked at again with the metadata, and after ten minutes", "nextgen: regex regex_shared regex_and_names regex_matches_nothing; group: TestRegularExpressionFindsTopicsOfTheStore"},
	{"4.3", "OffsetCommit: UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH", "nextgen: commit"},

	{"4.3", "migration: upgrade by the first new member, by the policy", "nextgen: upgrade upgrade_refused upgrade_cooperative upgrade_local upgrade_not_written upgrade_join_cancelled upgrade_while_rebalancing upgrade_while_syncing"},
	{"4.3", "migration: downgrade with the last one", "nextgen: downgrade downgrade_refused downgrade_session downgrade_static downgrade_static_other_topics downgrade_waits downgrade_not_written"},
	{"4.3", "migration: classic members are served by translating", "nextgen: classic_member classic_refused classic_timeouts classic_timeouts_2 classic_cancelled classic_leaves_for_a_while classic_process_restart; group: TestMembersOfBothProtocolsShareAGroup; consumer: TestConsumersShareTheirGroupWithAMemberOfTheNewProtocol"},
	{"4.3", "migration: empty groups convert freely", "nextgen: empty_groups_convert empty_conversion_not_written"},

	{"4.4", "the first is the default, members vote", "nextgen: assignors range_first"},
	{"4.4", "uniform and range answer as Kafka's do", "group: TestServerAssignorsAnswerAsKafkaDid TestServerAssignorsAnswerAsKafkaDoes TestServerAssignorsKeepTheirPromises TestUniformAssignmentIsStable"},
	{"4.4", "records", "group: TestRecordsOfConsumerGroupsAreTheGoldenOnes TestRecordsOfConsumerGroupsAreKafkas TestRecordsOfConsumerGroupsComeBack TestConsumerGroupOfABrokerGoesOnInAStore"},
	{"4.4", "changes are one batch, answered when it is written; a failed one is taken back", "nextgen: answers_wait not_written; group: TestConsumerGroupsChangeWhollyOrNotAtAllInAnyCrash"},
	{"4.4", "the same group after a restart", "nextgen: restart compacted; group: TestConsumerGroupSurvivesAReopenOfTheStore"},
	{"4.4", "when the coordinator ends", "nextgen: stop; group: TestCloseAnswersEverybodyAndLeavesNothingRunning"},

	{"5", "share groups (KIP-932)", "listener: nobody in one process needs them"},
}

// ownStories are of what no broker does: members that end with their process, callers that give up, a full disk.
var ownStories = []string{
	"machine/disk_full",
	"machine/disk_full_while_leaving",
	"machine/restart",
	"machine/static_cancelled",
	"machine/static_process_restart",
	"machine/txn_no_space",
}

// A story that proves no rule is in no list, and its rule may be missing.
func TestEveryStoryOfAGroupProvesARule(t *testing.T) {
	proving := make(map[string]bool)
	for _, story := range ownStories {
		proving[story] = true
	}
	for _, r := range groupsAndConsumers {
		for part := range strings.SplitSeq(r.proof, "; ") {
			folder, names, _ := strings.Cut(part, ": ")
			for name := range strings.FieldsSeq(names) {
				switch folder {
				case "groups":
					proving["machine/"+name] = true
				case "nextgen":
					proving["nextgen/"+name] = true
				}
			}
		}
	}
	for _, folder := range []string{"machine", "nextgen"} {
		files, err := filepath.Glob(filepath.Join("../../group/testdata", folder, "*.txt"))
		require.NoError(t, err)
		require.NotEmpty(t, files)
		for _, file := range files {
			story := folder + "/" + strings.TrimSuffix(filepath.Base(file), ".txt")
			require.True(t, proving[story], "%s proves no rule", story)
			delete(proving, story)
		}
	}
	require.Empty(t, proving, "stories that are not there")
}
