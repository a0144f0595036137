package replicationtest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/control"
	"github.com/partlog/partlog/internal/replica"
	"github.com/partlog/partlog/internal/simulate"
)

// The history of commands on a topic is wrong if no order of them explains what was answered, and only then.
func TestCommandsThatNoOrderExplainsAreFound(t *testing.T) {
	one, two := control.TopicID{1}, control.TopicID{2}
	create := func(id control.TopicID) topicOp { return topicOp{kind: "create", name: "t", id: id, partitions: 1} }
	op := func(kind string) topicOp { return topicOp{kind: kind, name: "t", partitions: 1} }
	is := func(id control.TopicID, partitions int32) topicAnswer {
		return topicAnswer{topic: topicState{exists: true, id: id, partitions: partitions}}
	}
	code := func(c control.Code) topicAnswer { return topicAnswer{code: c} }
	for _, story := range []struct {
		name  string
		wrong bool
		tell  func(h *commands)
	}{
		{"nothing", false, func(*commands) {}},
		{"made, grown, deleted, made again", false, func(h *commands) {
			h.call(create(one)).answered(h, code(control.OK))
			h.call(op("grow")).answered(h, code(control.OK))
			h.call(op("describe")).answered(h, is(one, 2))
			h.call(op("delete")).answered(h, code(control.OK))
			h.call(create(two)).answered(h, code(control.OK))
			h.call(op("describe")).answered(h, is(two, 1))
		}},
		{"of two at a time one makes it", false, func(h *commands) {
			a, b := h.call(create(one)), h.call(create(two))
			a.answered(h, code(control.TopicAlreadyExists))
			b.answered(h, code(control.OK))
			h.call(op("describe")).answered(h, is(two, 1))
		}},
		{"both make it", true, func(h *commands) {
			a, b := h.call(create(one)), h.call(create(two))
			a.answered(h, code(control.OK))
			b.answered(h, code(control.OK))
		}},
		{"an old state is told", true, func(h *commands) {
			h.call(create(one)).answered(h, code(control.OK))
			h.call(op("delete")).answered(h, code(control.OK))
			h.call(op("describe")).answered(h, is(one, 1))
		}},
		{"what was made is not known", true, func(h *commands) {
			h.call(create(one)).answered(h, code(control.OK))
			h.call(op("grow")).answered(h, code(replica.UnknownTopicOrPartition))
		}},
		{"without an answer it was done", false, func(h *commands) {
			h.call(create(one))
			h.call(op("describe")).answered(h, is(one, 1))
		}},
		{"without an answer it is done later", false, func(h *commands) {
			h.call(create(one))
			h.call(op("describe")).answered(h, topicAnswer{})
			h.call(op("describe")).answered(h, is(one, 1))
		}},
		{"without an answer it is not done twice", true, func(h *commands) {
			h.call(create(one)).answered(h, code(control.OK))
			h.call(op("grow"))
			h.call(op("describe")).answered(h, is(one, 3))
		}},
		{"grown twice for one command", true, func(h *commands) {
			h.call(create(one)).answered(h, code(control.OK))
			h.call(op("grow")).answered(h, code(control.OK))
			h.call(op("describe")).answered(h, is(one, 3))
		}},
	} {
		t.Run(story.name, func(t *testing.T) {
			c := &cluster{findings: simulate.NewFindings(simulate.NewScheduler(1))}
			h := newCommands()
			story.tell(h)
			h.check(c)
			if !story.wrong {
				require.Nil(t, c.findings.First())
				return
			}
			require.NotNil(t, c.findings.First())
			require.Equal(t, simulate.NotLinearizable, c.findings.First().Checker)
		})
	}
}
