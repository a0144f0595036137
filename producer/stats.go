package producer

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/partlog/partlog/partition"
)

// Stats are the figures of a producer since New. Rates are differences of two of them.
type Stats struct {
	Counts
	Topics map[string]Counts // by topic, those that are remembered (MetadataMaxIdle); Counts has all

	BatchBytes    Histogram // of appended batches, after compression (batch-size-avg, -max)
	BatchRecords  Histogram // records per appended batch
	AppendLatency Histogram // of each append, in nanoseconds (request-latency)
	QueueTime     Histogram // from a batch's first record to its first append, in nanoseconds (record-queue-time)
	SendLatency   Histogram // from a batch's first record to its result, in nanoseconds

	Refused map[string]uint64 // records that were not accepted, or whose Send ended with its context, by kind of error
	Panics  uint64            // of callbacks, interceptors, partitioners and encoders

	Transactions TransactionStats

	Buffer  BufferStats
	Senders int // goroutines of the producer now
}

// Counts are what is counted per topic.
type Counts struct {
	Records      uint64            // acknowledged (record-send-total)
	Failed       uint64            // accepted records that failed (record-error-total)
	Batches      uint64            // acknowledged
	Bytes        uint64            // of these batches, as appended (outgoing-byte-total)
	Uncompressed uint64            // the same batches before compression; Bytes/Uncompressed is compression-rate
	Appends      uint64            // calls of Backend.Append, retries included (request-total)
	Retries      uint64            // batches sent again (record-retry)
	Splits       uint64            // batches sent in pieces (batch-split-total)
	Timeouts     uint64            // records whose delivery took too long
	EpochBumps   uint64            // changes of the producer epoch after a failure
	Errors       map[string]uint64 // failed appends by kind of error
}

// BufferStats are about Config.BufferMemory.
type BufferStats struct {
	Size, Used int           // bytes (buffer-total-bytes)
	Waiting    int           // calls that wait for memory now (waiting-threads)
	Exhausted  uint64        // calls that waited in vain (buffer-exhausted-total)
	WaitTime   time.Duration // of all calls together (bufferpool-wait-time-total)
}

// Stats returns the figures of now. It locks each partition in use for a moment.
func (p *Producer) Stats() Stats {
	s := Stats{
		Topics:        map[string]Counts{},
		BatchBytes:    p.stats.bytes.snapshot(),
		BatchRecords:  p.stats.records.snapshot(),
		AppendLatency: p.stats.append.snapshot(),
		QueueTime:     p.stats.queue.snapshot(),
		SendLatency:   p.stats.send.snapshot(),
		Refused:       p.stats.refusals(),
		Transactions:  p.stats.txn.stats(),
		Panics:        p.panics.Load(),
	}
	p.topicsMu.Lock()
	s.Counts = p.forgotten
	s.Counts.Errors = maps.Clone(p.forgotten.Errors)
	p.eachLane(func(ln *lane) {
		ln.mu.Lock()
		defer ln.mu.Unlock()
		ln.count.addTo(&s.Counts)
		t := s.Topics[ln.tp.Topic]
		ln.count.addTo(&t)
		s.Topics[ln.tp.Topic] = t
	})
	p.topicsMu.Unlock()
	s.Buffer = p.memory.stats()
	p.sched.mu.Lock()
	s.Senders = p.sched.alive
	p.sched.mu.Unlock()
	return s
}

// counters are what is not counted per lane.
type counters struct {
	bytes, records, append, queue, send histogram

	txn txnCounters

	mu      sync.Mutex // guards refused
	refused map[string]uint64
}

func (c *counters) refuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refused == nil {
		c.refused = map[string]uint64{}
	}
	c.refused[kindOf(err)]++
}

func (c *counters) refusals() map[string]uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.refused)
}

// TransactionStats are about the transactions of a producer. Times are of all calls together.
type TransactionStats struct {
	Committed, Aborted uint64
	Unknown            uint64        // commits whose Transact could not tell the outcome
	InitTime           time.Duration // txn-init-time-ns-total
	OffsetsTime        time.Duration // of CommitOffsets (txn-send-offsets-time-ns-total)
	CommitTime         time.Duration // of asking for commits (txn-commit-time-ns-total)
	AbortTime          time.Duration // of asking for aborts (txn-abort-time-ns-total)
}

type txnCounters struct {
	committed, aborted, unknown                  atomic.Uint64
	initTime, offsetsTime, commitTime, abortTime atomic.Int64 // nanoseconds
}

func (c *txnCounters) stats() TransactionStats {
	return TransactionStats{
		Committed: c.committed.Load(), Aborted: c.aborted.Load(), Unknown: c.unknown.Load(),
		InitTime: time.Duration(c.initTime.Load()), OffsetsTime: time.Duration(c.offsetsTime.Load()),
		CommitTime: time.Duration(c.commitTime.Load()), AbortTime: time.Duration(c.abortTime.Load()),
	}
}

// laneCount counts for one lane; its mu guards it, which whoever counts holds anyway.
type laneCount struct {
	records, failed, batches, bytes, uncompressed, appends, retries, splits, timeouts, bumps uint64
	errors                                                                                   map[string]uint64
}

// append counts one call of Backend.Append.
func (c *laneCount) append(p *Producer, b *pending, err error, now time.Time) {
	c.appends++
	p.stats.append.observe(since(b.started, now))
	if err != nil {
		if c.errors == nil {
			c.errors = map[string]uint64{}
		}
		c.errors[kindOf(err)]++
	}
}

// settle counts the outcome of a batch.
func (c *laneCount) settle(p *Producer, b *pending, now time.Time) {
	if b.err != nil {
		for i := range b.entries {
			if !b.entries[i].withdrawn {
				c.failed++
			}
		}
		return
	}
	n := uint64(b.builder.Count())
	if n == 0 {
		return
	}
	c.records += n
	c.batches++
	c.bytes += uint64(b.size)
	c.uncompressed += uint64(b.builder.Len())
	p.stats.bytes.add(uint64(b.size))
	p.stats.records.add(n)
	p.stats.send.observe(since(b.created, now))
}

func (c *laneCount) addTo(s *Counts) {
	s.Records += c.records
	s.Failed += c.failed
	s.Batches += c.batches
	s.Bytes += c.bytes
	s.Uncompressed += c.uncompressed
	s.Appends += c.appends
	s.Retries += c.retries
	s.Splits += c.splits
	s.Timeouts += c.timeouts
	s.EpochBumps += c.bumps
	for kind, n := range c.errors {
		if s.Errors == nil {
			s.Errors = map[string]uint64{}
		}
		s.Errors[kind] += n
	}
}

func (m *memory) stats() BufferStats {
	m.mu.Lock()
	defer m.mu.Unlock()
	return BufferStats{Size: m.size, Used: m.used, Waiting: len(m.waiters), Exhausted: m.exhausted, WaitTime: m.waited}
}

// kinds are Kafka's names of errors, for Stats.
var kinds = []struct {
	err  error
	name string
}{
	{context.Canceled, "CANCELED"},
	{context.DeadlineExceeded, "DEADLINE_EXCEEDED"},
	{partition.ErrNoSpace, "NO_SPACE"},
	{partition.ErrStorage, "KAFKA_STORAGE_ERROR"},
	{partition.ErrRecordListTooLarge, "RECORD_LIST_TOO_LARGE"}, // it is the next one too
	{partition.ErrMessageTooLarge, "MESSAGE_TOO_LARGE"},
	{partition.ErrInvalidTimestamp, "INVALID_TIMESTAMP"},
	{partition.ErrInvalidRecord, "INVALID_RECORD"},
	{partition.ErrUnknownTopicOrPartition, "UNKNOWN_TOPIC_OR_PARTITION"},
	{partition.ErrUnknownTopicID, "UNKNOWN_TOPIC_ID"},
	{partition.ErrInvalidTopic, "INVALID_TOPIC_EXCEPTION"},
	{partition.ErrOutOfOrderSequence, "OUT_OF_ORDER_SEQUENCE_NUMBER"},
	{partition.ErrInvalidProducerEpoch, "INVALID_PRODUCER_EPOCH"},
	{partition.ErrProducerFenced, "PRODUCER_FENCED"},
	{partition.ErrInvalidProducerIDMapping, "INVALID_PRODUCER_ID_MAPPING"},
	{partition.ErrInvalidTxnState, "INVALID_TXN_STATE"},
	{partition.ErrConcurrentTransactions, "CONCURRENT_TRANSACTIONS"},
	{partition.ErrTransactionAbortable, "TRANSACTION_ABORTABLE"},
	{partition.ErrInvalidRequiredAcks, "INVALID_REQUIRED_ACKS"},
	{partition.ErrPolicyViolation, "POLICY_VIOLATION"},
	{partition.ErrFencedLeaderEpoch, "FENCED_LEADER_EPOCH"},
	{partition.ErrCorruptMessage, "CORRUPT_MESSAGE"},
	{partition.ErrReadOnly, "READ_ONLY"},
	{partition.ErrClosed, "CLOSED"},
	{partition.ErrTimeout, "REQUEST_TIMED_OUT"},
}

// kindOf names the kind of an error.
func kindOf(err error) string {
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			return k.name
		}
	}
	return "UNKNOWN_SERVER_ERROR"
}
