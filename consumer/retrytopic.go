package consumer

import (
	"context"
	"strconv"
	"time"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

// retryHeaders are those of a record in a retry topic.
type retryHeaders struct {
	topic string // where it waits
	level int    // which of Retry.Topics that is, from 1
	due   time.Time
	delay time.Duration
}

// retried is a record that comes from a retry topic.
type retried struct {
	letter DeadLetter
	retryHeaders
	record Record // as it was at first
}

// retriedOf returns what a record of a retry topic was, nil for other records.
func retriedOf(r *Record) *retried {
	if !waits(r.Topic, r.Headers) {
		return nil
	}
	l, retry, ok := letterOf(r)
	if !ok {
		return nil
	}
	return &retried{letter: l, retryHeaders: retry, record: Record{
		Topic: l.Topic, Partition: l.Partition, Offset: l.Offset, LeaderEpoch: partition.LeaderEpochUnknown,
		Timestamp: l.Timestamp, Key: r.Key, Value: r.Value, Headers: l.Headers,
	}}
}

// waits reports whether headers say that a record waits in this topic.
func waits(topic string, headers []partition.Header) bool {
	for i := range headers {
		if headers[i].Key == HeaderRetryTopic && string(headers[i].Value) == topic {
			return true
		}
	}
	return false
}

// hold reports whether a record of a retry topic is not due, and then lets its partition rest until it is. The caller has
// the turn.
func (c *Consumer) hold(k *cursor, r *batch.Record) bool {
	if k.rested == partition.Offset(r.Offset)+1 || !waits(k.tp.Topic, r.Headers) {
		return false
	}
	rec := Record{Headers: r.Headers}
	_, retry, _ := letterOf(&rec)
	d := retry.due.Sub(c.clock.Now())
	if d <= 0 {
		return false
	}
	// However the wall clock jumps, nothing waits longer than it was to.
	d = min(d, retry.delay)
	k.jump(partition.Offset(r.Offset))
	k.resting = true
	tps, at := []partition.TopicPartition{k.tp}, AtOffset(partition.Offset(r.Offset))
	life, over := context.WithCancel(c.life)
	halt := c.clock.AfterFunc(d, func() {
		_ = c.order(rouse, at, tps)
		over()
	})
	context.AfterFunc(life, func() { halt() })
	return true
}

// wakeAt is the end of a rest. The caller has the turn.
func (k *cursor) wakeAt(o partition.Offset) {
	if k.resting && k.position == o {
		k.resting, k.rested = false, o+1
	}
}

// nextTopic returns where a record goes that has failed, "" if nowhere: the retry topic that follows level, or the
// dead-letter topic.
func (w *workers) nextTopic(source string, level int, final bool) (topic string, delay time.Duration, retry bool) {
	if topics := w.config.Retry.Topics; !final && level < len(topics) {
		return topics[level].name(level, source), topics[level].Delay, true
	}
	return w.config.DeadLetter, 0, false
}

// forward writes a record that has failed to where it goes.
func (w *workers) forward(t *task) outcome {
	l, level := w.letter(t)
	to, delay, retry := w.nextTopic(l.Topic, level, t.final)
	if to == "" {
		w.tellFailed(t, t.failure, Stopped, "")
		w.fail(w.handlerError(t, t.failure))
		return taskDropped
	}
	var more []partition.Header
	next := Buried
	if retry {
		next = Delayed
		more = []partition.Header{
			{Key: HeaderRetryTopic, Value: []byte(to)},
			{Key: HeaderRetryLevel, Value: strconv.AppendInt(nil, int64(level+1), 10)},
			{Key: HeaderRetryDue, Value: strconv.AppendInt(nil, l.Failed.Add(delay).UnixMilli(), 10)},
			{Key: HeaderRetryDelay, Value: strconv.AppendInt(nil, delay.Milliseconds(), 10)},
		}
	}
	headers := l.headers(t.failure, more...)
	err := call(t.of.ctx, func(ctx context.Context, r Record) error {
		return w.config.Forwarder.Forward(ctx, to, r.Key, r.Value, headers)
	}, &t.rec)
	switch {
	case err == nil:
		w.counters.forwarded(next)
		w.tellFailed(t, t.failure, next, to)
		return taskDone
	case t.of.ctx.Err() != nil:
		return taskDropped
	}
	w.counters.forwardErrors.Add(1)
	failed := &ForwardError{
		TopicPartition: partition.TopicPartition{Topic: t.rec.Topic, Partition: t.rec.Partition}, Offset: t.rec.Offset,
		To: to, Cause: t.failure, Err: err,
	}
	if w.config.OnForwardError == RetryForward {
		t.forwards++
		t.due = w.clock.Now().Add(w.config.Retry.wait(t.forwards))
		w.tellFailed(t, failed, TriedAgain, to)
		return taskAgain
	}
	w.tellFailed(t, failed, Stopped, to)
	w.fail(failed)
	return taskDropped
}

// letter makes the dead letter of a task, and returns through how many retry topics it has been.
func (w *workers) letter(t *task) (l DeadLetter, level int) {
	if len(t.rec.Headers) > 0 {
		old, retry, ok := letterOf(&t.rec)
		l.Headers = old.Headers
		if ok { // it has come from a retry topic, or is a dead letter itself: its source stays
			l = old
			if retry.topic == t.rec.Topic {
				level = retry.level
			}
		}
	}
	if l.Topic == "" {
		l.Topic, l.Partition = t.rec.Topic, t.rec.Partition
		l.Offset, l.Timestamp = t.rec.Offset, t.rec.Timestamp
	}
	l.Attempts += t.attempts
	l.Failed, l.Group = w.clock.Now(), w.config.Group
	return l, level
}

// attempts returns how often a task's record has been tried in all.
func (w *workers) attemptsOf(t *task) int {
	l, _ := w.letter(t)
	return l.Attempts
}

func (w *workers) handlerError(t *task, err error) error {
	return &HandlerError{
		TopicPartition: partition.TopicPartition{Topic: t.rec.Topic, Partition: t.rec.Partition}, Offset: t.rec.Offset,
		Attempts: w.attemptsOf(t), Err: err,
	}
}
