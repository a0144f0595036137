package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/internal/txn"
	"github.com/partlog/partlog/partition"
)

// coordinatorKind is what FindCoordinator is asked for.
type coordinatorKind int8

const (
	coordinatorGroup coordinatorKind = 0
	coordinatorTxn   coordinatorKind = 1
	coordinatorShare coordinatorKind = 2
)

// Errors of coordinators. Where a broker is not the one that clients of a group or transactional id are sent to, it says so,
// although the store would do as they ask.
var (
	errNotCoordinator          = &protocolError{codeNotCoordinator, "not the coordinator"}
	errCoordinatorNotAvailable = &protocolError{codeCoordinatorNotAvailable, "no broker that runs leads the coordinator's partition"}
)

// patience is how long a transactional request waits for the end of what its id is busy with, before it is answered with
// CONCURRENT_TRANSACTIONS. Apache Kafka does not wait; clients then ask again after 20 to 100 ms, which is longer than
// the end of a transaction takes here.
const patience = time.Second

// startGroups returns the groups' coordinators of the store, with the broker's settings if nobody has started them before:
// members in this process and members over the wire share them.
func (s *Server) startGroups() (group.Coordinators, error) {
	c := s.settings.Load().coordinator()
	c.Clock, c.Events = s.clock, s.config.GroupEvents
	if s.node != nil {
		return group.Start(s.node.node, c)
	}
	return group.Start(s.store, c)
}

// topic returns the internal topic that holds the state of the coordinators of a kind.
func (k coordinatorKind) topic() string {
	if k == coordinatorTxn {
		return txn.Topic
	}
	return group.OffsetsTopic
}

// partition returns the partition of the kind's topic, which has n of them, that holds a key.
func (k coordinatorKind) partition(key string, n int32) int32 {
	if k == coordinatorTxn {
		return txn.PartitionFor(key, n)
	}
	return group.PartitionFor(key, n)
}

// coordinator returns the broker that coordinates a group or transactional id, -1 if none that runs does. Errors: the kind's
// topic is not there.
func (s *Server) coordinator(k coordinatorKind, key string) (int32, error) {
	t, err := s.store.Topic(k.topic())
	if err != nil {
		return -1, err
	}
	at, _ := s.layout.at(t, k.partition(key, t.Partitions()))
	return at.leader, nil
}

// Coordinator returns the broker that coordinates a consumer group, or with transactional a transactional id; −1 if there is
// none. The internal topics, whose leaders coordinate, are made when the first client asks for its coordinator.
func (s *Server) Coordinator(transactional bool, key string) int32 {
	id, err := s.coordinator(kindOf(transactional), key)
	if err != nil {
		return -1
	}
	return id
}

// MoveCoordinator makes a broker the coordinator of a consumer group, or with transactional of a transactional id, and of all
// that share its partition of the internal topic. Clients are told by NOT_COORDINATOR; members stay members. Errors:
// ErrUnknownBroker, ErrNoSpace, ErrStorage.
func (s *Server) MoveCoordinator(ctx context.Context, transactional bool, key string, broker int32) error {
	k := kindOf(transactional)
	t, err := s.coordinatorTopic(ctx, k)
	if err != nil {
		return fmt.Errorf("move coordinator of %q: %w", key, err)
	}
	return s.MoveLeader(ctx, partition.TopicPartition{Topic: t.Name(), Partition: k.partition(key, t.Partitions())}, broker)
}

func kindOf(transactional bool) coordinatorKind {
	if transactional {
		return coordinatorTxn
	}
	return coordinatorGroup
}

// coordinatorTopic returns the kind's internal topic, making it at its first use.
func (s *Server) coordinatorTopic(ctx context.Context, k coordinatorKind) (*partition.Topic, error) {
	name := k.topic()
	t, err := s.store.Topic(name)
	if err == nil || !errors.Is(err, partition.ErrUnknownTopicOrPartition) {
		return t, err
	}
	set := s.settings.Load()
	c := partition.TopicConfig{Partitions: set.offsetsPartitions, CleanupPolicy: partition.CleanupCompact, SegmentBytes: set.offsetsSegmentBytes}
	factor := set.offsetsReplication
	if k == coordinatorTxn {
		c.Partitions, factor = set.txnPartitions, set.txnReplication
		c.SegmentBytes, c.Compression = propertyReader(set.properties).number("transaction.state.log.segment.bytes"), partition.CompressionNone
	}
	if s.node != nil {
		c.ReplicationFactor = min(factor, int16(len(s.brokers())))
		if s.place != nil {
			c.Assignment, c.ReplicationFactor = s.place(int(c.Partitions), int(c.ReplicationFactor)), 0
		}
		t, err = s.node.node.CreateTopic(ctx, name, c)
	} else {
		t, err = s.store.CreateTopic(ctx, name, c)
	}
	if errors.Is(err, partition.ErrTopicAlreadyExists) {
		return s.store.Topic(name) // somebody else has made it meanwhile
	}
	if err != nil {
		return nil, err
	}
	if n := min(int(factor), len(s.brokers())); n > 1 && s.node == nil {
		if err := s.layout.assign(ctx, t, assignReplicas(s.brokers(), int(t.Partitions()), n, 0, 0)); err != nil {
			return nil, err
		}
	}
	return t, nil
}

// coordinates returns nil if this broker coordinates the group or transactional id, else why not.
func (s *session) coordinates(k coordinatorKind, key string) error {
	id, err := s.server.coordinator(k, key)
	switch {
	case errors.Is(err, partition.ErrUnknownTopicOrPartition):
		return errNotCoordinator // the client has not asked who is
	case err != nil:
		return err
	case id != s.broker.id:
		return errNotCoordinator
	}
	return nil
}

// groupOf returns the coordinator of a group, if this broker is that.
func (s *session) groupOf(ctx context.Context, id string) (group.Coordinator, error) {
	if err := s.coordinates(coordinatorGroup, id); err != nil {
		return nil, err
	}
	return s.server.groups.Find(ctx, id)
}

// groupCode is errorCode for what concerns a whole request to a group's coordinator: what went wrong with the log
// behind it becomes an answer after which clients look for the coordinator again.
func groupCode(err error, key, version int16) int16 {
	switch {
	case err == nil:
		return codeNone
	case errors.Is(err, partition.ErrClosed), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return codeCoordinatorNotAvailable
	}
	switch code := errorCode(err, key, version); code {
	case codeUnknownTopicOrPartition, codeNotEnoughReplicas, codeRequestTimedOut:
		return codeCoordinatorNotAvailable
	case codeNotLeaderOrFollower, codeKafkaStorageError:
		return codeNotCoordinator
	case codeMessageTooLarge, codeRecordListTooLarge:
		return codeUnknownServerError
	default:
		return code
	}
}

// txnCode is errorCode for what concerns a whole request to the coordinator of a transactional id.
func txnCode(err error, key, version int16) int16 {
	if errors.Is(err, partition.ErrConcurrentTransactions) {
		return codeConcurrentTransactions // also if it was the wait for that which has ended
	}
	if e, ok := errors.AsType[*partition.ConfigError](err); ok && e.Key == "transactional.id" {
		return codeInvalidRequest // longer than any string of the protocol before KIP-482
	}
	return groupCode(err, key, version)
}

// patient returns a context that ends with c's, or when a transactional request has waited long enough.
func (s *session) patient(c *call) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(c.ctx)
	stop := s.server.clock.AfterFunc(patience, cancel)
	return ctx, func() { stop(); cancel() }
}

// clientHost is the client's address as Apache Kafka shows it in descriptions of groups.
func (s *session) clientHost() string { return "/" + s.host }

// letGo frees the frame of a request that may wait for long, unless an interceptor has it too. Nothing of the request may
// point into it any more.
func (s *session) letGo() {
	if s.conn != nil && s.server.config.Intercept == nil {
		s.conn.Drop()
	}
}

// topics returns the metadata of topics by name, with Err set where there is none. No name means none.
func (s *session) topics(ctx context.Context, names []string) (map[string]*partition.Metadata, error) {
	out := make(map[string]*partition.Metadata, len(names))
	if len(names) == 0 {
		return out, nil
	}
	slices.Sort(names)
	all, err := s.server.store.Metadata(ctx, slices.Compact(names))
	if err != nil {
		return nil, err
	}
	for i := range all {
		out[all[i].Topic] = &all[i]
	}
	return out, nil
}

// hasPartition reports whether a topic that topics has found has the partition.
func hasPartition(m *partition.Metadata, p int32) bool {
	return m != nil && m.Err == nil && p >= 0 && int(p) < len(m.Partitions)
}

// answers collects error codes of partitions by topic, both in the order of their coming: first what is refused at the door,
// then what the coordinator says, as Apache Kafka merges them.
type answers struct {
	topics []topicAnswers
	index  map[string]int
}

type topicAnswers struct {
	topic      string
	partitions []partitionAnswer
}

type partitionAnswer struct {
	partition int32
	code      int16
}

func (a *answers) add(topic string, partition int32, code int16) {
	i, ok := a.index[topic]
	if !ok {
		if a.index == nil {
			a.index = make(map[string]int)
		}
		i = len(a.topics)
		a.index[topic] = i
		a.topics = append(a.topics, topicAnswers{topic: topic})
	}
	a.topics[i].partitions = append(a.topics[i].partitions, partitionAnswer{partition, code})
}

func stringOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// nullable is the string as the protocol has optional ones: null if it is empty.
func nullable(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// millis is a duration of the protocol; what no Duration can be is the longest.
func millis[T int32 | int64](ms T) time.Duration {
	const most = math.MaxInt64 / int64(time.Millisecond)
	return time.Duration(max(min(int64(ms), most), -most)) * time.Millisecond
}

func compareTopicPartitions(a, b partition.TopicPartition) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Partition, b.Partition))
}
