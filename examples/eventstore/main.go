// Eventstore keeps bank accounts as events: every change of an account is an event under its key, appended only if nobody has appended
// another in between. Balances are a projection of the events, with a checkpoint, and can be rebuilt from zero.
//
//	go run ./examples/eventstore                 # in a temporary directory, removed at the end
//	go run ./examples/eventstore -dir data       # keeps the store; run it again and it goes on
//	go run ./examples/eventstore -dir data -rebuild
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"

	"github.com/partlog/partlog/consumer"
	"github.com/partlog/partlog/group"
	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// Event is what happened to an account.
type Event struct {
	Kind  string `json:"kind"` // opened, deposited or withdrawn
	Cents int    `json:"cents,omitempty"`
}

const (
	topic    = "accounts"
	accounts = 5
	tellers  = 8 // who all move money of the same accounts at once
	each     = 50
)

func main() {
	dir := flag.String("dir", "", "directory of the store; empty: a temporary one")
	rebuild := flag.Bool("rebuild", false, "build the balances from the first event again")
	flag.Parse()
	if err := run(context.Background(), *dir, *rebuild, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "eventstore:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string, rebuild bool, out io.Writer) (err error) {
	if dir == "" {
		temporary, err := os.MkdirTemp("", "partlog-eventstore-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(temporary)
		dir = temporary
	}
	store, err := partition.Open(dir, partition.Config{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	_, err = store.CreateTopic(ctx, topic, partition.TopicConfig{Partitions: 4, KeyIndex: true}) // where each key's events are
	if err != nil && !errors.Is(err, partition.ErrTopicAlreadyExists) {
		return err
	}
	p, err := producer.New(store, producer.Config{})
	if err != nil {
		return err
	}
	defer p.Close()
	b := &bank{store: store, events: producer.For(p, topic, producer.String, producer.JSON[Event])}

	var all sync.WaitGroup
	errs := make([]error, tellers)
	for t := range tellers {
		all.Go(func() { errs[t] = b.serve(ctx, t) })
	}
	all.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	fmt.Fprintf(out, "%d tellers: %d changes, %d times somebody else was first, %d withdrawals refused\n", tellers, tellers*each-b.refused, b.conflicts, b.refused)

	balances, err := project(ctx, store, dir, rebuild)
	if err != nil {
		return err
	}
	for i := range accounts {
		key := name(i)
		a, err := b.load(ctx, key)
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s: %4d events, %8.2f in the account, %8.2f in the projection\n", key, a.events, float64(a.cents)/100, float64(balances[key])/100)
		if a.cents != balances[key] || a.cents < 0 {
			return fmt.Errorf("%s has %d cents by its events and %d by the projection", key, a.cents, balances[key])
		}
	}
	return nil
}

func name(i int) string { return fmt.Sprint("account-", i) }

// bank appends events.
type bank struct {
	store  *partition.Store
	events *producer.View[string, Event]

	mu                 sync.Mutex
	conflicts, refused int
}

// account is what the events of one key amount to.
type account struct {
	cents, events int
	last          partition.Offset // of its last event
}

func (a *account) apply(e Event) {
	a.events++
	switch e.Kind {
	case "deposited":
		a.cents += e.Cents
	case "withdrawn":
		a.cents -= e.Cents
	}
}

// load reads the account's own events, and no others.
func (b *bank) load(ctx context.Context, key string) (account, error) {
	a := account{last: partition.NoRecord}
	for r, err := range consumer.History(ctx, b.store, topic, []byte(key), consumer.JSON[Event], consumer.HistoryConfig{}) {
		if err != nil {
			return a, err
		}
		a.apply(r.Value)
		a.last = r.Offset
	}
	return a, nil
}

// serve is a teller: decides on what the events say, and decides anew if they are not the last ones any more.
func (b *bank) serve(ctx context.Context, teller int) error {
	for i := 0; i < each; {
		key := name((teller + i) % accounts)
		a, err := b.load(ctx, key)
		if err != nil {
			return err
		}
		var events []Event
		switch cents := 100 + teller*7 + i; {
		case a.events == 0:
			events = []Event{{Kind: "opened"}, {Kind: "deposited", Cents: cents}} // together or not at all
		case i%3 != 0:
			events = []Event{{Kind: "deposited", Cents: cents}}
		case a.cents >= 3*cents:
			events = []Event{{Kind: "withdrawn", Cents: 3 * cents}}
		default:
			b.count(0, 1) // never below zero, however many tellers there are
			i++
			continue
		}
		_, err = b.events.AppendIf(ctx, a.last, key, events...)
		if errors.Is(err, partition.ErrVersionConflict) {
			b.count(1, 0)
			continue
		}
		if err != nil {
			return err
		}
		i++
	}
	return nil
}

func (b *bank) count(conflicts, refused int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.conflicts += conflicts
	b.refused += refused
}

// view is the projection: a file of the host's with the balances and, with them, the offsets up to which events are in them. So they are
// never out of step, whenever the process ends. (A host with a database writes both in one of its transactions.)
type view struct {
	path     string
	Offsets  map[int32]partition.Offset `json:"offsets"`
	Balances map[string]int             `json:"balances"`
}

// project brings the balances up to date with the events.
func project(ctx context.Context, store *partition.Store, dir string, rebuild bool) (map[string]int, error) {
	v := &view{path: dir + "/balances.json", Offsets: map[int32]partition.Offset{}, Balances: map[string]int{}}
	if text, err := os.ReadFile(v.path); err == nil && !rebuild {
		if err := json.Unmarshal(text, v); err != nil {
			return nil, err
		}
	}
	err := consumer.Project(ctx, store, consumer.ProjectionConfig{Topics: []string{topic}, Checkpoint: v, Rebuild: rebuild, Once: true}, func(r consumer.Record) error {
		var e Event
		if err := json.Unmarshal(r.Value, &e); err != nil {
			return err
		}
		a := account{cents: v.Balances[string(r.Key)]}
		a.apply(e)
		v.Balances[string(r.Key)] = a.cents
		v.Offsets[r.Partition] = r.Offset + 1
		return nil
	})
	return v.Balances, err
}

// Load implements consumer.Checkpoint.
func (v *view) Load(_ context.Context, tps []partition.TopicPartition) (map[partition.TopicPartition]group.CommittedOffset, error) {
	offsets := map[partition.TopicPartition]group.CommittedOffset{}
	for _, tp := range tps {
		if o, ok := v.Offsets[tp.Partition]; ok {
			offsets[tp] = group.CommittedOffset{Offset: o, LeaderEpoch: partition.LeaderEpochUnknown}
		}
	}
	return offsets, nil
}

// Save implements consumer.Checkpoint: the offsets are those of the records that have been applied, which the view has noted itself.
func (v *view) Save(context.Context, map[partition.TopicPartition]group.CommittedOffset) error {
	text, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.WriteFile(v.path+".new", text, 0o600); err != nil {
		return err
	}
	return os.Rename(v.path+".new", v.path)
}
