package kafka

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// errNoRecords closes the connection: the Java broker fails, and never answers.
var errNoRecords = errors.New("a partition whose records are null")

// unreadable looks at where the records of each partition begin, as Kafka does before all else: if that is no batch of any
// format, the whole request is refused.
func unreadable(req *kmsg.ProduceRequest) error {
	for i := range req.Topics {
		for j := range req.Topics[i].Partitions {
			b := req.Topics[i].Partitions[j].Records
			if b == nil {
				return errNoRecords
			}
			if _, err := batchSize(b); err != nil {
				return err
			}
		}
	}
	return nil
}

// produceRecords applies Kafka's checks that come before the log, in its order, and returns the batch.
func (s *session) produceRecords(c *call, req *kmsg.ProduceRequest, t *partition.Topic, p *kmsg.ProduceRequestTopicPartition) ([]byte, error) {
	info := t.Info()
	if p.Partition < 0 || p.Partition >= info.Partitions {
		return nil, partition.ErrUnknownTopicOrPartition
	}
	records, err := oneBatch(c.version, p.Records)
	if err != nil {
		return nil, err
	}
	if req.Acks < -1 || req.Acks > 1 {
		return nil, partition.ErrInvalidRequiredAcks
	}
	if info.Internal {
		return nil, partition.ErrInvalidTopic
	}
	at, _ := s.server.layout.at(t, p.Partition)
	if at.leader != s.broker.id {
		return nil, errNotLeader
	}
	if req.Acks == -1 && len(at.isr) < int(info.MinInsyncReplicas) {
		return nil, errNotEnoughReplicas
	}
	return records, nil
}

// Errors of records that are not exactly one batch of format 2.
var (
	errNoBatch      = &protocolError{codeInvalidRecord, "no record batch"}
	errManyBatches  = &protocolError{codeInvalidRecord, "more than one record batch"}
	errOldFormat    = &protocolError{codeInvalidRecord, "a record batch that is not of format 2"}
	errCorruptBatch = &protocolError{codeCorruptMessage, "Corrupt record batch header"}
	errZstd         = &protocolError{codeUnsupportedCompressionType, "zstd below Produce 7"}
)

// oneBatch is ProduceRequest.validateRecords of Apache Kafka: exactly one whole batch of format 2 (what follows it and is
// less than a batch is left out), without zstd below version 7.
func oneBatch(version int16, records []byte) ([]byte, error) {
	n, err := batchSize(records)
	if err != nil {
		return nil, err
	}
	switch {
	case n == 0:
		return nil, errNoBatch
	case records[16] != 2:
		return nil, errOldFormat
	case n < batch.HeaderSize:
		return nil, errCorruptBatch
	case version < 7 && batch.Batch(records).Codec() == partition.CodecZstd:
		return nil, errZstd
	}
	more, err := batchSize(records[n:])
	if err != nil {
		return nil, err
	}
	if more > 0 {
		return nil, errManyBatches
	}
	return records[:n:n], nil
}

// batchSize returns the size of the batch or message set entry that b begins with, 0 if it is not all there.
func batchSize(b []byte) (int, error) {
	const overhead = 12 // offset and size
	if len(b) < overhead {
		return 0, nil
	}
	size := int32(binary.BigEndian.Uint32(b[8:]))
	if size < 14 { // the smallest record of format 0
		return 0, &protocolError{codeCorruptMessage, fmt.Sprintf("Record size %d is less than the minimum record overhead (14)", size)}
	}
	if len(b) < overhead+5 {
		return 0, nil
	}
	if magic := int8(b[16]); magic < 0 || magic > 2 {
		return 0, &protocolError{codeCorruptMessage, fmt.Sprintf("Invalid magic found in record: %d", magic)}
	}
	if int64(len(b)) < int64(size)+overhead {
		return 0, nil
	}
	return int(size) + overhead, nil
}
