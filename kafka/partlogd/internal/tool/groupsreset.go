package tool

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/internal/clock"
)

// resetTarget is where offsets are to be.
type resetTarget struct {
	earliest, latest, current bool
	offset, shift             int64
	hasOffset, hasShift       bool
	datetime, duration, file  string
}

func (t *resetTarget) addTo(f *flags) {
	f.BoolVar(&t.earliest, "to-earliest", false, "")
	f.BoolVar(&t.latest, "to-latest", false, "")
	f.BoolVar(&t.current, "to-current", false, "")
	number := func(into *int64, has *bool) func(string) error {
		return func(s string) (err error) {
			*has = true
			if *into, err = strconv.ParseInt(s, 10, 64); err != nil {
				return errors.New("want a number")
			}
			return nil
		}
	}
	f.Func("to-offset", "", number(&t.offset, &t.hasOffset))
	f.Func("shift-by", "", number(&t.shift, &t.hasShift))
	f.StringVar(&t.datetime, "to-datetime", "", "")
	f.StringVar(&t.duration, "by-duration", "", "")
	f.StringVar(&t.file, "from-file", "", "")
}

func (t *resetTarget) check() error {
	n := 0
	for _, given := range []bool{t.earliest, t.latest, t.current, t.hasOffset, t.hasShift, t.datetime != "", t.duration != "", t.file != ""} {
		if given {
			n++
		}
	}
	if n != 1 {
		return errors.New("want one of --to-earliest, --to-latest, --to-current, --to-offset, --shift-by, --to-datetime, --by-duration and --from-file: where to?")
	}
	if t.datetime != "" {
		_, err := parseDatetime(t.datetime)
		return err
	}
	if t.duration != "" {
		_, err := parseDuration(t.duration)
		return err
	}
	return nil
}

// parseDatetime reads 2026-01-31T12:00:00.000, in UTC or with a zone.
func parseDatetime(s string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02T15:04:05.999999999Z07:00", "2006-01-02T15:04:05.999999999-0700"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	return time.Time{}, fmt.Errorf("--to-datetime %s: want 2026-01-31T12:00:00.000, with Z or +01:00 behind it or not", s)
}

var isoDuration = regexp.MustCompile(`^P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?$`)

// parseDuration reads an ISO 8601 duration of days, hours, minutes and seconds.
func parseDuration(s string) (time.Duration, error) {
	m := isoDuration.FindStringSubmatch(strings.ToUpper(s))
	if m == nil || m[1]+m[2]+m[3]+m[4] == "" {
		return 0, fmt.Errorf("--by-duration %s: want PnDTnHnMnS, such as P1DT2H or PT30M", s)
	}
	var d time.Duration
	for i, unit := range []time.Duration{24 * time.Hour, time.Hour, time.Minute, time.Second} {
		n, _ := strconv.ParseFloat("0"+m[i+1], 64) // digits, says the pattern
		d += time.Duration(n * float64(unit))
	}
	return d, nil
}

// partitions returns what --topic and --all-topics mean for a group.
func (g *groupTool) partitions(ctx context.Context, id string) (map[string][]int32, error) {
	out := map[string][]int32{}
	if g.allTopics {
		committed, err := g.committed(ctx, id)
		for topic, ps := range committed {
			out[topic] = sortedKeys(ps)
		}
		return out, err
	}
	all, err := metadata(ctx, g.client)
	if err != nil {
		return nil, err
	}
	for _, item := range g.topics {
		name, span, has := strings.Cut(item, ":")
		i := slices.IndexFunc(all, func(m kmsg.MetadataResponseTopic) bool { return *m.Topic == name })
		if i < 0 {
			return nil, fmt.Errorf("topic %q does not exist", name)
		}
		if !has {
			for _, p := range all[i].Partitions {
				out[name] = append(out[name], p.Partition)
			}
			continue
		}
		for text := range strings.SplitSeq(span, ",") {
			n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 32)
			if err != nil {
				return nil, Usagef("--topic %s: %q is no partition", item, text)
			}
			if int(n) >= len(all[i].Partitions) || n < 0 {
				return nil, fmt.Errorf("topic %s has no partition %d", name, n)
			}
			out[name] = append(out[name], int32(n))
		}
	}
	return out, nil
}

func (g *groupTool) resetOffsets(ctx context.Context) (err error) {
	chosen, err := g.chosen(ctx)
	if err != nil {
		return err
	}
	if !g.execute && !g.dryRun && !g.export {
		fmt.Fprintln(g.streams.Err, "Nothing is changed: --execute does what this shows.")
	}
	t := table{}
	t.add("GROUP", "TOPIC", "PARTITION", "NEW-OFFSET")
	for _, l := range chosen {
		if l.typ != "" && l.state != "Empty" && l.state != "Dead" {
			err = errors.Join(err, fmt.Errorf("assignments can only be reset if the group '%s' is inactive, but the current state is %s", l.id, l.state))
			continue
		}
		to, rerr := g.newOffsets(ctx, l.id)
		if rerr == nil && g.execute {
			rerr = g.commit(ctx, l.id, to)
		}
		if rerr != nil {
			err = errors.Join(err, rerr)
			continue
		}
		for _, topic := range sortedKeys(to) {
			for _, p := range sortedKeys(to[topic]) {
				t.add(l.id, topic, strconv.Itoa(int(p)), strconv.FormatInt(to[topic][p], 10))
			}
		}
	}
	if g.export {
		return errors.Join(err, g.exported(t))
	}
	if len(t.rows) == 1 {
		return err
	}
	fmt.Fprintln(g.streams.Out)
	return errors.Join(err, t.write(g.streams.Out))
}

// exported prints CSV for --from-file: with the group in front if there are several.
func (g *groupTool) exported(t table) error {
	w := csv.NewWriter(g.streams.Out)
	for _, row := range t.rows[1:] {
		if len(g.groups) == 1 {
			row = row[1:]
		}
		if err := w.Write(row); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// newOffsets computes where the group is to be, within what the partitions have.
func (g *groupTool) newOffsets(ctx context.Context, id string) (map[string]map[int32]int64, error) {
	wanted, parts, err := g.fromFile(id)
	if err != nil {
		return nil, err
	}
	if wanted == nil {
		if parts, err = g.partitions(ctx, id); err != nil {
			return nil, err
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	first, err := listOffsets(ctx, g.client, parts, -2)
	if err != nil {
		return nil, err
	}
	last, err := listOffsets(ctx, g.client, parts, -1)
	if err != nil {
		return nil, err
	}
	var committed, byTime map[string]map[int32]int64
	switch tg := &g.target; {
	case tg.current || tg.hasShift:
		committed, err = g.committed(ctx, id)
	case tg.datetime != "":
		at, _ := parseDatetime(tg.datetime) // checked
		byTime, err = listOffsets(ctx, g.client, parts, at.UnixMilli())
	case tg.duration != "":
		d, _ := parseDuration(tg.duration) // checked
		byTime, err = listOffsets(ctx, g.client, parts, clock.System.Now().Add(-d).UnixMilli())
	}
	if err != nil {
		return nil, err
	}
	out := map[string]map[int32]int64{}
	for topic, ps := range parts {
		out[topic] = map[int32]int64{}
		for _, p := range ps {
			low, high := first[topic][p], last[topic][p]
			var to int64
			at, has := committed[topic][p]
			switch tg := &g.target; {
			case wanted != nil:
				to = wanted[topic][p]
			case tg.earliest:
				to = low
			case tg.hasOffset:
				to = tg.offset
			case tg.hasShift && !has:
				return nil, fmt.Errorf("cannot shift offset for partition %s-%d since there is no current committed offset", topic, p)
			case tg.hasShift:
				to = at + tg.shift
			case tg.current && has:
				to = at
			case byTime != nil && byTime[topic][p] >= 0:
				to = byTime[topic][p]
			default: // latest; nothing since then; no offset
				to = high
			}
			if to < low || to > high {
				fmt.Fprintf(g.streams.Err, "%s-%d has offsets %d to %d: %d becomes %d\n", topic, p, low, high, to, min(max(to, low), high))
			}
			out[topic][p] = min(max(to, low), high)
		}
	}
	return out, nil
}

// fromFile reads --from-file, nil without it: lines topic,partition,offset, or with the group in front.
func (g *groupTool) fromFile(id string) (to map[string]map[int32]int64, parts map[string][]int32, err error) {
	if g.target.file == "" {
		return nil, nil, nil
	}
	f, err := os.Open(g.target.file)
	if err != nil {
		return nil, nil, &UsageError{err}
	}
	defer f.Close()
	to, parts = map[string]map[int32]int64{}, map[string][]int32{}
	r := csv.NewReader(bufio.NewReader(f))
	r.FieldsPerRecord = -1
	for {
		row, err := r.Read()
		if err == io.EOF {
			return to, parts, nil
		}
		if err != nil {
			return nil, nil, Usagef("%s: %w", g.target.file, err)
		}
		if len(row) == 4 {
			if row[0] != id {
				continue
			}
			row = row[1:]
		}
		line, _ := r.FieldPos(0)
		if len(row) != 3 {
			return nil, nil, Usagef("%s:%d: want topic,partition,offset", g.target.file, line)
		}
		p, err1 := strconv.ParseInt(strings.TrimSpace(row[1]), 10, 32)
		o, err2 := strconv.ParseInt(strings.TrimSpace(row[2]), 10, 64)
		if err1 != nil || err2 != nil {
			return nil, nil, Usagef("%s:%d: want topic,partition,offset", g.target.file, line)
		}
		if to[row[0]] == nil {
			to[row[0]] = map[int32]int64{}
		}
		to[row[0]][int32(p)] = o
		parts[row[0]] = append(parts[row[0]], int32(p))
	}
}

// commit stores offsets as a group without members does.
func (g *groupTool) commit(ctx context.Context, id string, to map[string]map[int32]int64) error {
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group, req.Generation = id, -1
	for _, topic := range sortedKeys(to) {
		rt := kmsg.NewOffsetCommitRequestTopic()
		rt.Topic = topic
		for _, p := range sortedKeys(to[topic]) {
			rp := kmsg.NewOffsetCommitRequestTopicPartition()
			rp.Partition, rp.Offset, rp.Metadata = p, to[topic][p], kmsg.StringPtr("")
			rt.Partitions = append(rt.Partitions, rp)
		}
		req.Topics = append(req.Topics, rt)
	}
	if len(req.Topics) == 0 {
		return nil
	}
	resp, err := req.RequestWith(ctx, g.client)
	if err != nil {
		return err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			err = errors.Join(err, about(fmt.Sprintf("group %s: %s-%d", id, t.Topic, p.Partition), failure(p.ErrorCode, nil)))
		}
	}
	return err
}
