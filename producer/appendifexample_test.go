package producer_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/partlog/partlog/partition"
	"github.com/partlog/partlog/producer"
)

// An account must not be overdrawn. Who decides by its events (consumer.History reads them) expects that they are still
// the last; if they are not, it reads what has come since and decides again.
func ExampleView_AppendIf() {
	ctx := context.Background()
	store := openStore("accounts", partition.TopicConfig{KeyIndex: true})
	defer store.Close()
	p, err := producer.New(store, producer.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	accounts := producer.For(p, "accounts", producer.String, producer.JSON[int])

	opened, err := accounts.AppendIf(ctx, partition.NoRecord, "ada", 500, -200) // both or none
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("last offset", opened.Offset)
	if _, err := accounts.AppendIf(ctx, opened.Offset, "ada", -300); err != nil { // somebody is faster
		fmt.Println(err)
		return
	}
	_, err = accounts.AppendIf(ctx, opened.Offset, "ada", -100)
	if conflict, ok := errors.AsType[*partition.VersionConflictError](err); ok {
		fmt.Println("nothing appended: expected", conflict.Expected, "and there is", conflict.Actual)
	}
	// Output:
	// last offset 1
	// nothing appended: expected 1 and there is 2
}

func ExampleProducer_AppendIf() {
	ctx := context.Background()
	store := openStore("users", partition.TopicConfig{KeyIndex: true})
	defer store.Close()
	p, err := producer.New(store, producer.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer p.Close()
	for _, who := range []string{"Ada", "Adam"} { // a name is given once
		_, err := p.AppendIf(ctx, partition.NoRecord, producer.Record{Topic: "users", Key: []byte("ada"), Value: []byte(who)})
		fmt.Println(who, err == nil, errors.Is(err, partition.ErrVersionConflict))
	}
	// Output:
	// Ada true false
	// Adam false true
}
