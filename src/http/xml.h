/* SPDX-License-Identifier: Apache-2.0 */
/*
 * XML: the one door to libxml2 (others include this header, never <libxml/...>).
 *
 * The reader pulls elements out of a document in memory, in document order, without
 * building a tree: memory does not grow with the document. UTF-8 only; no DTD, no
 * entities but the five of XML, nothing is ever fetched; depth and size are bounded.
 * Every failure is FAIL_CORRUPT (FAIL_LIMIT for a bound) and names `what`.
 *
 *     for (struct xml_mark mark = xml_mark(reader); xml_next(reader, &mark, err);)
 *         if (xml_is(reader, "name")) ... read it with xml_text, or its children in a
 *         loop of the same form, or not at all ...
 *     if (xml_failed(reader)) return false;
 *
 * The writer escapes: no text given to it can become markup. One thread at a time.
 */
#ifndef HTTP_XML_H
#define HTTP_XML_H

#include "base/buf.h"
#include "base/err.h"

#define XML_MAX_BYTES (64 * MIB)
#define XML_MAX_DEPTH 200
#define XML_NAME_MAX  256 /* an element's or attribute's local name */

struct xml_reader;

/* data is borrowed as long as the reader lives. Stands on the root element. */
MUST_CHECK struct xml_reader *xml_reader_open(const char *what, const void *data,
                                              size_t data_bytes, struct err *err);
void xml_reader_close(struct xml_reader *reader);
AUTO_CLEANUP(struct xml_reader, xml_reader_close);

/* The element whose children are to be visited: the one where the reader stands. */
struct xml_mark {
    int depth;
};
struct xml_mark xml_mark(const struct xml_reader *reader);

/* Moves to the next child element of the marked one, skipping what was not read of the
 * one before. false: there is none, or the document is broken (*err is set then, and
 * xml_failed says so, now and from then on). */
MUST_CHECK bool xml_next(struct xml_reader *reader, const struct xml_mark *mark,
                         struct err *err);
bool xml_failed(const struct xml_reader *reader);

/* Local name of the element; valid until the reader moves. */
const char *xml_name(const struct xml_reader *reader);
bool xml_is(const struct xml_reader *reader, const char *local_name);
/* Namespace URI; "" when none. */
const char *xml_namespace(const struct xml_reader *reader);

/* An attribute of the element where the reader stands (namespace NULL: one without).
 * Copied, cut never: false when it is absent or longer than out. */
bool xml_attribute(const struct xml_reader *reader, const char *namespace_uri,
                   const char *local_name, char *out, size_t out_bytes);
#define XML_XSI "http://www.w3.org/2001/XMLSchema-instance"

/* The text of the element, appended to *ret; child elements are an error, more than
 * max_bytes FAIL_LIMIT. */
MUST_CHECK bool xml_text(struct xml_reader *reader, size_t max_bytes, struct buf *ret,
                         struct err *err);

/* Writers. Names are ours, literal. */
struct xml_writer {
    struct buf *out;
    bool has_bad_text;
};
void xml_start(struct xml_writer *writer, const char *name); /* "<name" */
void xml_put_attribute(struct xml_writer *writer, const char *name, const char *value);
void xml_end_start(struct xml_writer *writer);             /* ">" */
void xml_end(struct xml_writer *writer, const char *name); /* "</name>" */
void xml_put_text(struct xml_writer *writer, const char *text, size_t text_bytes);
/* <name>text</name> */
void xml_put_element(struct xml_writer *writer, const char *name, const char *text);

/* FAIL_INPUT when a text was not UTF-8 or held a character that XML cannot carry. */
MUST_CHECK bool xml_writer_check(const struct xml_writer *writer, const char *what,
                                 struct err *err);

#endif
