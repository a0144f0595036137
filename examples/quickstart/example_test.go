package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// contract is the snippet of the README, word for word; dead and charge are the caller's.
func contract(ctx context.Context, dead func(consumer.Record), charge func(string, Order)) error {
	store, err := partition.Open("data", partition.Config{}) // zero Config: safe defaults
	if err != nil {
		return err
	}
	defer store.Close()

	_, err = store.CreateTopic(ctx, "orders", partition.TopicConfig{Partitions: 8})
	if err != nil && !errors.Is(err, partition.ErrTopicAlreadyExists) {
		return err
	}

	p, err := producer.New(store, producer.Config{}) // idempotent, acks=all
	if err != nil {
		return err
	}
	defer p.Close()                                                            // flushes
	orders := producer.For(p, "orders", producer.String, producer.JSON[Order]) // typed view; K, V inferred
	if _, err := orders.Send(ctx, "customer-42", Order{Cents: 1999}); err != nil {
		return err
	}

	billing, err := group.Open(store, "billing", group.Config{}) // open once, share like sql.DB
	if err != nil {
		return err
	}
	defer billing.Close()
	c, err := consumer.Join(ctx, billing, consumer.Config{Topics: []string{"orders"}})
	if err != nil {
		return err
	}
	defer c.Close() // commits what the loop finished, leaves the group

	for rec, err := range consumer.Records(ctx, c, consumer.String, consumer.JSON[Order]) {
		if bad, ok := errors.AsType[*consumer.DecodeError](err); ok {
			dead(bad.Raw)
			continue
		}
		if err != nil {
			return err
		} // last pair: context.Canceled, ErrClosed, expelled...
		charge(rec.Key, rec.Value) // reaching the next iteration acknowledges rec
	}
	return nil
}

// The quick start of the README, run twice in one directory: the group goes on behind what it has finished.
func Example() {
	dir, err := os.MkdirTemp("", "partlog-example-")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	before, err := os.Getwd()
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.Chdir(before) }()
	if err := os.Chdir(dir); err != nil {
		fmt.Println(err)
		return
	}
	for range 2 {
		ctx, cancel := context.WithCancel(context.Background())
		err := contract(ctx, func(consumer.Record) {}, func(customer string, o Order) {
			fmt.Println(customer, "pays", o.Cents)
			cancel() // ends the iteration behind this record
		})
		fmt.Println("ended:", errors.Is(err, context.Canceled))
	}
	// Output:
	// customer-42 pays 1999
	// ended: true
	// customer-42 pays 1999
	// ended: true
}

// What the README shows is what contract compiles. How lines are broken does not count.
func TestSnippetOfTheReadmeIsTheExample(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join("..", "..", "README.md"))
	require.NoError(t, err)
	source, err := os.ReadFile("example_test.go")
	require.NoError(t, err)
	const first = `store, err := partition.Open("data"`
	_, shown, ok := strings.Cut(string(readme), first)
	require.True(t, ok)
	shown, _, ok = strings.Cut(shown, "```")
	require.True(t, ok)
	_, compiled, ok := strings.Cut(string(source), first)
	require.True(t, ok)
	compiled, _, ok = strings.Cut(compiled, "\treturn nil\n")
	require.True(t, ok)
	plain := func(s string) string { return strings.NewReplacer(" ", "", "\t", "", "\n", "", ";", "").Replace(s) }
	require.Equal(t, plain(shown), plain(compiled))
}
