package partitiontest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/partlog/partlog/partition"
)

// Backend is what producers, consumers and groups need below themselves. *partition.Store is the first; whatever else
// says it is one has to pass Conformance.
type Backend interface {
	Metadata(ctx context.Context, topics []string) ([]partition.Metadata, error)
	Append(ctx context.Context, r partition.AppendRequest) (partition.AppendResult, error)
	Fetch(ctx context.Context, r partition.FetchRequest) ([]partition.FetchResult, error)
	ListOffsets(ctx context.Context, tp partition.TopicPartition, timestamp int64) (partition.Offset, error)
	InitProducerID(ctx context.Context, txnID string, timeout time.Duration, last partition.ProducerID) (partition.ProducerID, error)
}

// Store is all that a store that is alone and a node of a cluster promise alike: *partition.Store and *replication.Node, which have to pass
// StoreConformance.
type Store interface {
	Backend

	CreateTopic(ctx context.Context, name string, c partition.TopicConfig) (*partition.Topic, error)
	DeleteTopic(ctx context.Context, name string) error
	CreatePartitions(ctx context.Context, name string, count int32) error
	AlterTopicConfig(ctx context.Context, name string, changes map[string]string) error
	DescribeTopic(ctx context.Context, name string) (partition.TopicDescription, error)
	ListTopics(ctx context.Context) ([]partition.TopicDescription, error)

	LookUpOffset(ctx context.Context, tp partition.TopicPartition, timestamp int64, epoch partition.LeaderEpoch, committed bool) (partition.FoundOffset, error)
	EpochEnd(ctx context.Context, tp partition.TopicPartition, epoch partition.LeaderEpoch) (partition.LeaderEpoch, partition.Offset, error)
	DeleteRecords(ctx context.Context, tp partition.TopicPartition, before partition.Offset) (partition.Offset, error)
	Size(ctx context.Context, tp partition.TopicPartition) (int64, error)

	AddPartitionsToTxn(ctx context.Context, txnID string, p partition.ProducerID, tps []partition.TopicPartition) error
	AddPartitionsToTxnV1(ctx context.Context, txnID string, p partition.ProducerID, tps []partition.TopicPartition) error
	PartitionsInTxn(ctx context.Context, txnID string, p partition.ProducerID, tps []partition.TopicPartition) ([]bool, error)
	EndTxn(ctx context.Context, txnID string, p partition.ProducerID, commit bool) (partition.ProducerID, error)
	EndTxnV1(ctx context.Context, txnID string, p partition.ProducerID, commit bool) error
	ListTransactions(ctx context.Context, f partition.TransactionFilter) ([]partition.TransactionListing, error)
	DescribeTransactions(ctx context.Context, ids []string) ([]partition.TransactionDescription, error)
	DescribeProducers(ctx context.Context, tp partition.TopicPartition) ([]partition.ProducerState, error)
	AbortTransaction(ctx context.Context, txnID string) error
	AbortHanging(ctx context.Context, tp partition.TopicPartition, p partition.ProducerState) error

	Close() error
}

var _ Store = (*partition.Store)(nil)

// Subject is what StoreConformance is run on.
type Subject struct {
	// Store is who is asked: the store, or any node.
	Store Store
	// Clock is that of the store, or of the stores of all nodes. Checks advance it.
	Clock *Clock
	// Replicas are the nodes that get each partition, the leader first; nil for a store that is alone.
	Replicas []int32
	// Compact compacts a partition, on all nodes.
	Compact func(ctx context.Context, tp partition.TopicPartition) error
	// Reopen closes everything and opens it again, all nodes at once or one by one; it returns who is asked from then on. It is called once, at the end.
	Reopen func(t *testing.T) Store
	// StopOne stops a node that has copies and neither leads nor is asked, and returns what starts it again; nil where there is none.
	StopOne func(t *testing.T) (start func())
	// Differs says in what the subject legitimately differs from others.
	Differs Differences
}

// Differences are all that a store that is alone and a node of a cluster do not promise alike: each check that concerns one says what holds in
// either case. The zero value is a store that is alone.
type Differences struct {
	// TransactionsGoOn: an open transaction goes on when everything has been closed and opened again. A store that is alone aborts it: its
	// producer has ended with the process.
	TransactionsGoOn bool
	// LaterEpochsAreAwaited: a fetch under a later leader epoch than the leader's brings nothing, as the leader may have yet to hear of its own. A store that
	// is alone knows all that there are, and refuses it.
	LaterEpochsAreAwaited bool
	// HangingIsJudged: AbortHanging does not ask whether a coordinator knows the transaction, which may be any node; who calls it has looked, as with
	// Kafka's tool. A store that is alone knows better.
	HangingIsJudged bool
	// KnowsNoReplicas: the store's metadata have no replicas, as in a cluster only the node around it knows them.
	KnowsNoReplicas bool
	// NeverReopened: there is no Reopen, for the reason given here.
	NeverReopened string
}

// claim is one check, whose name says what it claims.
type claim struct {
	name  string
	check func(*check)
}

// backendClaims are those that hold for every Backend.
var backendClaims = []claim{
	{"AppendedRecordsAreFetchedInOrder", appendedAreFetched},
	{"FetchNeverShowsMoreThanTheHighWatermark", fetchStopsAtHighWatermark},
	{"FetchWaitsForAnAppend", fetchWaits},
	{"FetchWaitsForAsMuchAsItAsksFor", fetchWaitsForMinBytes},
	{"FetchReadsFromTheMiddleOfABatch", fetchWithinBatch},
	{"ErrorsOfPartitionsAreInTheirResults", errorsInResults},
	{"PartitionsOfATopicAreIndependent", partitionsAreIndependent},
	{"KeysHeadersAndNullsAreKept", contentsAreKept},
	{"AnIdempotentProducersRetryIsADuplicate", retryIsDuplicate},
	{"AnIdempotentProducerCannotSkipOrBeFenced", sequenceAndEpoch},
	{"SequencesBeginAgainAtZeroAfterTheLargest", sequenceWraps},
	{"OffsetsAreFoundByTime", offsetsByTime},
	{"ProducerIDsAreNeverGivenTwice", producerIDs},
	{"MetadataNamesWhatIsThereAndWhatIsNot", metadata},
	{"ACancelledContextChangesNothingAndIsReturned", cancelled},
}

// storeClaims are those that hold for every Store beyond them.
var storeClaims = []claim{
	{"AcksOfOneAndOfNoneAnswerWithOffsetsToo", acks},
	{"UnknownAcksAreRefused", unknownAcks},
	{"AcksOfAllNeedTheReplicasThatTheTopicAsksFor", minISR},
	{"ADamagedBatchIsRefused", damagedBatch},
	{"ABatchThatIsLargerThanTheTopicTakesIsRefused", largeBatch},
	{"RecordsOutsideOfTheTopicsTimesAreRefused", timestampBounds},
	{"ATopicMayStampItsOwnTimes", logAppendTime},
	{"ATopicsCompressionWins", compressionType},
	{"InternalTopicsAreClosedToProducers", internalTopics},
	{"FetchObeysItsBoundsExceptForTheFirstBatch", fetchBounds},
	{"AFetchWithNothingToReadEnds", fetchEnds},
	{"AFetchUnderALaterLeaderEpochIsRefused", fetchEpoch},

	{"AProducersSequencesAreEachPartitionsOwn", sequencesPerPartition},
	{"TheLastFiveBatchesOfAProducerAreRemembered", fiveBatches},
	{"ProducersOfAPartitionAreDescribed", describeProducers},

	{"CommittedTransactionsAreReadAndAbortedOnesAreNot", committedAndAborted},
	{"AnOpenTransactionHoldsBackTheLastStableOffset", openHoldsBack},
	{"AbortedTransactionsAreListedWhereTheyAreRead", abortedList},
	{"AFetchOfCommittedRecordsWaitsForTheEndOfTheTransaction", committedFetchWaits},
	{"ANewerProducerFencesTheOlder", newerFences},
	{"AProducerMayContinueItsOwnID", continuedID},
	{"TheEndOfATransactionMayBeAskedForAgain", endIsRepeated},
	{"ATransactionThatIsOpenForTooLongIsAborted", txnTimesOut},
	{"TransactionsAreListedAndDescribed", txnDescribed},
	{"AnAdministratorMayEndATransaction", txnAbortedByAdmin},
	{"BatchesThatAreNotOfTheTransactionAreRefused", notOfTheTransaction},
	{"PartitionsMayBeAddedToATransactionBeforehand", partitionsAdded},
	{"ProducersBeforeVersionTwoAddTheirPartitions", txnVersionOne},
	{"TransactionTimeoutsHaveBounds", txnTimeoutBounds},
	{"WhatNoCoordinatorKnowsIsNoHangingTransaction", notHanging},

	{"ATopicIsCreatedDescribedAndListed", topicDescribed},
	{"ATopicGrowsAndNeverShrinks", topicGrows},
	{"ARecreatedTopicIsAnother", topicRecreated},
	{"BadTopicsAreRefused", badTopics},
	{"SettingsChangeAllOrNothing", settingsChange},
	{"ChangedSettingsAreInForce", settingsInForce},

	{"AnOffsetIsFoundWithItsTimeAndEpoch", lookUpOffset},
	{"TheLargestTimestampIsFoundWhereverItIs", maxTimestamp},
	{"AnEmptyPartitionHasNoOffsetOfAnyTime", emptyPartitionOffsets},
	{"TimestampsOfNoMeaningAreRefused", meaninglessTimestamps},
	{"TheEndOfTheLeaderEpochIsTheEndOfTheLog", epochEnd},
	{"ThePartitionsSizeIsThatOfItsRecords", size},

	{"DeletedRecordsAreOutOfRange", deleteRecords},
	{"RecordsOfACompactedTopicAreNotDeletedByOffset", deleteCompacted},
	{"CompactionKeepsTheLastRecordOfEachKeyAtItsOffset", compaction},
	{"TombstonesGoAfterTheirTime", tombstones},
	{"CompactedTopicsWantKeys", compactedWantKeys},
	{"OldRecordsGoByTheirAge", retentionByAge},
	{"OldRecordsGoByTheSizeOfTheLog", retentionBySize},

	{"AnAppendThatExpectsAnotherLastRecordChangesNothing", expectations},
	{"ExpectationsNeedAKeyIndexAndOneKey", expectationsRefused},
	{"OfWritersThatExpectTheSameOneSucceeds", expectationsRace},
}

// reopenClaims are those of what is there after a Reopen: what each does before it returns what looks afterwards.
var reopenClaims = []struct {
	name   string
	before func(*check) (after func(*check))
}{
	{"WhatWasAcknowledgedIsThereAfterAReopen", reopened},
	{"AnIdempotentProducerGoesOnAfterAReopen", reopenedProducer},
	{"TransactionsAreWholeAfterAReopen", reopenedTransactions},
}

// Conformance checks that a backend keeps the contract of the calls of Backend. open returns a backend that has one
// topic, empty, of that name and with that many partitions, and whose end the test does not have to see to.
func Conformance(t *testing.T, open func(t *testing.T, topic string, partitions int32) Backend) {
	for _, claim := range backendClaims {
		t.Run(claim.name, func(t *testing.T) {
			claim.check(newCheck(t, open(t, "conformance", 3), "conformance"))
		})
	}
}

// StoreConformance checks that a store, or a node, keeps the whole contract of Store. All checks share the subject, one after the other, each with
// topics and ids of its own; then it is reopened, and closed.
func StoreConformance(t *testing.T, s *Subject) {
	begin := func(t *testing.T, name string) *check {
		c := newCheck(t, s.Store, topicName(name))
		c.on, c.s = s, s.Store
		return c
	}
	for _, claim := range append(backendClaims[:len(backendClaims):len(backendClaims)], storeClaims...) {
		t.Run(claim.name, func(t *testing.T) {
			c := begin(t, t.Name())
			c.create(c.tp.Topic, partition.TopicConfig{Partitions: 3})
			claim.check(c)
		})
	}
	t.Run("Reopen", func(t *testing.T) {
		if s.Differs.NeverReopened != "" {
			t.Skip("not reopened: " + s.Differs.NeverReopened)
		}
		var after []func(*check)
		for _, claim := range reopenClaims {
			c := begin(t, t.Name()+"."+claim.name)
			c.create(c.tp.Topic, partition.TopicConfig{Partitions: 3})
			after = append(after, claim.before(c))
		}
		s.Store = s.Reopen(t)
		for i, claim := range reopenClaims {
			t.Run(claim.name, func(t *testing.T) { after[i](begin(t, t.Name())) })
		}
	})
	t.Run("EverythingIsRefusedAfterClose", func(t *testing.T) {
		c := begin(t, t.Name())
		c.create(c.tp.Topic, partition.TopicConfig{Partitions: 3})
		closed(c)
	})
}

// topicName is the name of a test as one of a topic.
func topicName(test string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return '.'
	}, test)
}
