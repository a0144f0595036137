package main

import (
	"context"
	"errors"
	"time"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

const abortedTransactions = 20_000

var errAborted = errors.New("aborted on purpose")

// readCommittedCell reads transactions of 100 records of 100 bytes, every other one aborted, by the ordinary loop. Both rows
// count what they read past, also what they leave out: "raw" is the same store read uncommitted.
func readCommittedCell(name string) cell {
	read := func(i consumer.Isolation) func(environment) (sample, error) {
		return func(e environment) (sample, error) { return readTransactions(e, i) }
	}
	return cell{name: name, contenders: []contender{
		{"partlog", pageCache, read(consumer.ReadCommitted)},
		{"raw", pageCache, read(consumer.ReadUncommitted)},
	}, note: "raw is the same store read uncommitted; records are those read past, left out or not"}
}

func readTransactions(e environment, i consumer.Isolation) (_ sample, err error) {
	st, err := newPartlog(e.dir, false)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, st.Close()) }()
	p, err := producer.New(st, producer.Config{TransactionalID: "t"})
	if err != nil {
		return sample{}, err
	}
	ctx := context.Background()
	for n := range uint64(abortedTransactions) {
		err := p.Transact(ctx, func(tx *producer.Tx) error {
			for r := range uint64(txnRecords) {
				payload := newPayload(txnSize)
				fill(payload, 0, n*txnRecords+r)
				tx.SendAsync(ctx, producer.Record{Topic: partlogTopic, Value: payload}, nil)
			}
			if n%2 == 0 {
				return nil
			}
			if err := p.Flush(ctx); err != nil { // or an abort would leave nothing behind
				return err
			}
			return errAborted
		})
		if err != nil && !errors.Is(err, errAborted) {
			return sample{}, err
		}
	}
	if err := p.Close(); err != nil {
		return sample{}, err
	}
	tp := partition.TopicPartition{Topic: partlogTopic}
	c, err := consumer.Assign(ctx, st, []consumer.Assignment{{TopicPartition: tp, Until: consumer.UntilEnd()}}, consumer.Config{Isolation: i})
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	before, started := mallocs(), time.Now()
	seen := 0
	for r, err := range c.Records(ctx) {
		if err != nil {
			return sample{}, err
		}
		seen++
		sink += touch(r.Value)
	}
	s := sample{elapsed: time.Since(started), mallocs: mallocs() - before, records: abortedTransactions * txnRecords}
	s.bytes = s.records * txnSize
	want := int(s.records)
	if i == consumer.ReadCommitted {
		want /= 2
	}
	if seen != want {
		return sample{}, errors.New("other records were read than those that were to be")
	}
	return s, nil
}
