// Package kafkatest is a Kafka cluster for tests.
package kafkatest
