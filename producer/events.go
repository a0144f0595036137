package producer

import (
	"context"
	"time"

	"github.com/partlog/partlog/partition"
)

// Events are functions that a producer calls when something happens that no call returns. Any may be nil. They are
// called with no lock held, most of them on a goroutine that has something to append, so they should return soon: they
// may call SendAsync, but must not wait in Send, Flush or Close.
type Events struct {
	// Lost is called once per batch when records that were answered at acceptance, or sent without a callback,
	// could not be appended.
	Lost func(LostRecords)

	// Retry is called when a batch will be appended again.
	Retry func(Retry)

	// EpochBump is called when a failed batch made the producer go on with a new epoch or producer id (KIP-360).
	EpochBump func(EpochBump)

	// Split is called when a batch was too large for its topic and is sent in pieces.
	Split func(tp partition.TopicPartition, records, pieces int)

	// TopicChanged is called when a topic was created again under the same name.
	TopicChanged func(topic string, before, after partition.TopicID)

	// Panic is called with each panic of the caller's code that was caught.
	Panic func(*PanicError)
}

// LostRecords are records of one batch whose failure no callback was told.
type LostRecords struct {
	partition.TopicPartition
	Records int
	Err     error
}

// Retry says why a batch is appended again, and when.
type Retry struct {
	partition.TopicPartition
	Attempt int // 1 is the first retry
	Backoff time.Duration
	Err     error
}

// EpochBump is a change of the producer's identity in one partition.
type EpochBump struct {
	partition.TopicPartition
	Before, After partition.ProducerID
	Err           error // of the batch that failed
}

// Interceptor sees records and results on their way, as Kafka's ProducerInterceptor does. Any function may be nil. A
// panic in one is caught and reported in Events.
type Interceptor struct {
	// OnSend is called on the sender's goroutine before the record is accepted, and may change it; the bytes it
	// sets must stay as they are until the call of Send or SendAsync returns. An error refuses the record.
	OnSend func(ctx context.Context, r *Record) error

	// OnResult is called with every result before the record's own callback, on the same goroutine.
	OnResult func(Result)
}
