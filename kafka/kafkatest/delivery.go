package kafkatest

import (
	"fmt"
	"strconv"
)

// identity is what makes two records the same: key and value, null apart from empty.
func identity(r *Record) string {
	return part(r.Key) + part(r.Value)
}

func part(b []byte) string {
	if b == nil {
		return "-"
	}
	return strconv.Itoa(len(b)) + ":" + string(b)
}

func describe(r *Record) string {
	cut := func(b []byte) string {
		if b == nil {
			return "null"
		}
		if len(b) > 60 {
			return fmt.Sprintf("%q…", b[:60])
		}
		return fmt.Sprintf("%q", b)
	}
	return "key " + cut(r.Key) + ", value " + cut(r.Value)
}

func counts(all []Record) map[string]int {
	n := make(map[string]int, len(all))
	for i := range all {
		n[identity(&all[i])]++
	}
	return n
}

// CheckNoLoss returns an error if a record of sent is not in got, or not as many times. Records are the same if their keys and
// values are.
func CheckNoLoss(sent, got []Record) error {
	have := counts(got)
	lost, first := 0, -1
	for i := range sent {
		id := identity(&sent[i])
		if have[id]--; have[id] < 0 {
			if lost++; first < 0 {
				first = i
			}
		}
	}
	if lost > 0 {
		return fmt.Errorf("%d of %d records are lost, the first: %s", lost, len(sent), describe(&sent[first]))
	}
	return nil
}

// CheckNoDuplicates returns an error if a record is in got more often than in sent, also one that is not in sent at all.
func CheckNoDuplicates(sent, got []Record) error {
	want := counts(sent)
	known := counts(sent)
	for i := range got {
		id := identity(&got[i])
		if want[id]--; want[id] < 0 {
			if known[id] == 0 {
				return fmt.Errorf("a record that nobody has sent, at offset %d: %s", got[i].Offset, describe(&got[i]))
			}
			return fmt.Errorf("a duplicate, at offset %d: %s", got[i].Offset, describe(&got[i]))
		}
	}
	return nil
}

// CheckKeyOrder returns an error if the records of a key are in another order in got than in sent. got has the records of a
// partition, or of a topic partition by partition; records with a null key are not looked at, nor are those that are missing
// or repeat one that was there before: see CheckNoLoss and CheckNoDuplicates. Values of a key must differ from each other.
func CheckKeyOrder(sent, got []Record) error {
	at := make(map[string]int, len(sent)) // place in sent
	for i := range sent {
		if sent[i].Key == nil {
			continue
		}
		id := identity(&sent[i])
		if _, ok := at[id]; ok {
			return fmt.Errorf("key %q has the value %q twice: their order cannot be told", sent[i].Key, sent[i].Value)
		}
		at[id] = i
	}
	last := map[string]int{} // by key, place in sent of the newest in got
	seen := map[string]bool{}
	for i := range got {
		r := &got[i]
		id := identity(r)
		place, ok := at[id]
		if r.Key == nil || !ok || seen[id] {
			continue
		}
		seen[id] = true
		if before, ok := last[string(r.Key)]; ok && place < before {
			return fmt.Errorf("out of order, at offset %d: %s came after %s", r.Offset, describe(r), describe(&sent[before]))
		}
		last[string(r.Key)] = place
	}
	return nil
}

// CheckDelivered is CheckNoLoss, CheckNoDuplicates and, if keys can tell, CheckKeyOrder: what was sent is there once.
func CheckDelivered(sent, got []Record) error {
	if err := CheckNoLoss(sent, got); err != nil {
		return err
	}
	if err := CheckNoDuplicates(sent, got); err != nil {
		return err
	}
	for _, n := range counts(sent) {
		if n > 1 {
			return nil // records that are the same have no order
		}
	}
	return CheckKeyOrder(sent, got)
}
