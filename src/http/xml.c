/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The reader is libxml2's pull interface with its dangers shut off:
 *
 *  X1  The bytes are UTF-8 whatever they say of themselves: a declared encoding is
 *      ignored, and what libxml2 would take for another one (a NUL, a first character
 *      other than "<") is refused before parsing, as is any "<!DOCTYPE". So no entity can
 *      be declared, and none but XML's own five is ever expanded; nothing depends on
 *      libxml2's expansion limits.
 *  X2  Depth is at most XML_MAX_DEPTH: readers may recurse with the document.
 *  X3  After the first failure every further question answers "nothing there".
 *
 * It must never: fetch anything, write to standard error, keep a tree.
 */
#include "http/xml.h"

#include <libxml/chvalid.h>
#include <libxml/xmlerror.h>
#include <libxml/xmlreader.h>
#include <libxml/xmlstring.h>

#include "base/text.h"

struct xml_reader {
    xmlTextReaderPtr text_reader;
    const char *what;
    bool has_failed;
    char parse_error[160];
};

static void note_error(void *arg, xmlErrorPtr error)
{
    struct xml_reader *reader = arg;
    if (reader->parse_error[0] || !error || !error->message)
        return;
    text_copy(reader->parse_error, sizeof reader->parse_error, error->message);
    for (char *c = reader->parse_error; *c; c++)
        if ((unsigned char)*c < ' ')
            *c = *(c + 1) ? ' ' : '\0';
}

static bool fail_parse(struct xml_reader *reader, struct err *err)
{
    reader->has_failed = true;
    return err_set(err, FAIL_CORRUPT, "%s: not well-formed XML: %s", reader->what,
                   reader->parse_error[0] ? reader->parse_error : "it ends too early");
}

/* One node further; false at the end too, which is an error wherever we ask. */
static bool advance(struct xml_reader *reader, struct err *err)
{
    if (xmlTextReaderRead(reader->text_reader) != 1)
        return fail_parse(reader, err);
    int type = xmlTextReaderNodeType(reader->text_reader);
    if (type == XML_READER_TYPE_ENTITY_REFERENCE ||
        type == XML_READER_TYPE_DOCUMENT_TYPE) {
        reader->has_failed = true;
        return err_set(err, FAIL_CORRUPT, "%s: has entities", reader->what);
    }
    if (xmlTextReaderDepth(reader->text_reader) > XML_MAX_DEPTH) {
        reader->has_failed = true;
        return err_set(err, FAIL_LIMIT, "%s: elements nest deeper than %d", reader->what,
                       XML_MAX_DEPTH);
    }
    return true;
}

static bool check_bytes(const char *what, const void *data, size_t data_bytes,
                        struct err *err)
{
    if (data_bytes > XML_MAX_BYTES)
        return err_set(err, FAIL_LIMIT, "%s: %zu bytes of XML, more than %llu", what,
                       data_bytes, (unsigned long long)XML_MAX_BYTES);
    if (data_bytes == 0)
        return err_set(err, FAIL_CORRUPT, "%s: is empty where XML was expected", what);
    size_t at = data_bytes >= 3 && memcmp(data, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < data_bytes && strchr(" \t\r\n", ((const char *)data)[at]))
        at++;
    if (at == data_bytes || ((const char *)data)[at] != '<' ||
        memchr(data, 0, data_bytes))
        return err_set(err, FAIL_CORRUPT, "%s: is not XML in UTF-8", what);
    if (memmem(data, data_bytes, "<!DOCTYPE", 9))
        return err_set(err, FAIL_CORRUPT, "%s: has a document type declaration", what);
    return true;
}

struct xml_reader *xml_reader_open(const char *what, const void *data, size_t data_bytes,
                                   struct err *err)
{
    if (!check_bytes(what, data, data_bytes, err))
        return NULL;
    AUTO(xml_reader_close) struct xml_reader *reader = xcalloc(1, sizeof *reader);
    reader->what = what;
    reader->text_reader =
        xmlReaderForMemory(data, (int)data_bytes, NULL, NULL,
                           XML_PARSE_NONET | XML_PARSE_COMPACT | XML_PARSE_IGNORE_ENC |
                               XML_PARSE_NOERROR | XML_PARSE_NOWARNING);
    if (!reader->text_reader) {
        (void)err_set(err, FAIL_LIMIT, "%s: no memory for the XML parser", what);
        return NULL;
    }
    xmlTextReaderSetStructuredErrorHandler(reader->text_reader, note_error, reader);
    do {
        if (!advance(reader, err))
            return NULL;
    } while (xmlTextReaderNodeType(reader->text_reader) != XML_READER_TYPE_ELEMENT);
    return TAKE(reader);
}

void xml_reader_close(struct xml_reader *reader)
{
    if (!reader)
        return;
    xmlFreeTextReader(reader->text_reader);
    free(reader);
}

struct xml_mark xml_mark(const struct xml_reader *reader)
{
    return (struct xml_mark){.depth = xmlTextReaderDepth(reader->text_reader)};
}

bool xml_next(struct xml_reader *reader, const struct xml_mark *mark, struct err *err)
{
    if (reader->has_failed)
        return false;
    xmlTextReaderPtr text_reader = reader->text_reader;
    int depth = xmlTextReaderDepth(text_reader);
    int type = xmlTextReaderNodeType(text_reader);
    if (depth == mark->depth &&
        (type == XML_READER_TYPE_END_ELEMENT || xmlTextReaderIsEmptyElement(text_reader)))
        return false;
    for (;;) {
        if (!advance(reader, err))
            return false;
        depth = xmlTextReaderDepth(text_reader);
        type = xmlTextReaderNodeType(text_reader);
        if (depth <= mark->depth)
            return false;
        if (depth == mark->depth + 1 && type == XML_READER_TYPE_ELEMENT)
            return true;
    }
}

bool xml_failed(const struct xml_reader *reader)
{
    return reader->has_failed;
}

const char *xml_name(const struct xml_reader *reader)
{
    const xmlChar *name = xmlTextReaderConstLocalName(reader->text_reader);
    return name ? (const char *)name : "";
}

bool xml_is(const struct xml_reader *reader, const char *local_name)
{
    return strcmp(xml_name(reader), local_name) == 0;
}

const char *xml_namespace(const struct xml_reader *reader)
{
    const xmlChar *uri = xmlTextReaderConstNamespaceUri(reader->text_reader);
    return uri ? (const char *)uri : "";
}

bool xml_attribute(const struct xml_reader *reader, const char *namespace_uri,
                   const char *local_name, char *out, size_t out_bytes)
{
    xmlChar *value =
        namespace_uri
            ? xmlTextReaderGetAttributeNs(reader->text_reader,
                                          (const xmlChar *)local_name,
                                          (const xmlChar *)namespace_uri)
            : xmlTextReaderGetAttribute(reader->text_reader, (const xmlChar *)local_name);
    bool fits = value && strlen((const char *)value) < out_bytes;
    if (fits)
        text_copy(out, out_bytes, (const char *)value);
    xmlFree(value);
    return fits;
}

bool xml_text(struct xml_reader *reader, size_t max_bytes, struct buf *ret,
              struct err *err)
{
    xmlTextReaderPtr text_reader = reader->text_reader;
    if (reader->has_failed)
        return err_set(err, FAIL_CORRUPT, "%s: is broken", reader->what);
    if (xmlTextReaderIsEmptyElement(text_reader))
        return true;
    char name[64];
    text_copy(name, sizeof name, xml_name(reader));
    int depth = xmlTextReaderDepth(text_reader);
    size_t start = ret->bytes;
    while (advance(reader, err)) {
        int type = xmlTextReaderNodeType(text_reader);
        if (xmlTextReaderDepth(text_reader) <= depth)
            return true;
        if (type == XML_READER_TYPE_ELEMENT) {
            reader->has_failed = true;
            return err_set(err, FAIL_CORRUPT, "%s: element '%s' where '%s' holds a text",
                           reader->what, xml_name(reader), name);
        }
        if (type == XML_READER_TYPE_COMMENT ||
            type == XML_READER_TYPE_PROCESSING_INSTRUCTION)
            continue;
        const char *value = (const char *)xmlTextReaderConstValue(text_reader);
        size_t value_bytes = value ? strlen(value) : 0;
        if (value_bytes > max_bytes - (ret->bytes - start)) {
            reader->has_failed = true;
            return err_set(err, FAIL_LIMIT, "%s: text of '%s' is longer than %zu bytes",
                           reader->what, name, max_bytes);
        }
        buf_append(ret, value, value_bytes);
    }
    return false;
}

void xml_start(struct xml_writer *writer, const char *name)
{
    buf_append_text(writer->out, "<");
    buf_append_text(writer->out, name);
}

void xml_end_start(struct xml_writer *writer)
{
    buf_append_text(writer->out, ">");
}

void xml_end(struct xml_writer *writer, const char *name)
{
    buf_append_text(writer->out, "</");
    buf_append_text(writer->out, name);
    buf_append_text(writer->out, ">");
}

/* Length of the UTF-8 character at text that XML 1.0 can carry; 0: none. */
static size_t character_bytes(const char *text, size_t text_bytes)
{
    int length = (int)MIN_OF(text_bytes, 4);
    int code = xmlGetUTF8Char((const unsigned char *)text, &length);
    return code > 0 && xmlIsCharQ((unsigned)code) ? (size_t)length : 0;
}

static const char *escape_of(char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\r':
        return "&#13;";
    case '\n':
        return "&#10;";
    case '\t':
        return "&#9;";
    default:
        return NULL;
    }
}

void xml_put_text(struct xml_writer *writer, const char *text, size_t text_bytes)
{
    for (size_t at = 0; at < text_bytes;) {
        size_t length = character_bytes(text + at, text_bytes - at);
        if (length == 0) {
            writer->has_bad_text = true;
            return;
        }
        const char *escape = length == 1 ? escape_of(text[at]) : NULL;
        if (escape)
            buf_append_text(writer->out, escape);
        else
            buf_append(writer->out, text + at, length);
        at += length;
    }
}

void xml_put_attribute(struct xml_writer *writer, const char *name, const char *value)
{
    buf_append_text(writer->out, " ");
    buf_append_text(writer->out, name);
    buf_append_text(writer->out, "=\"");
    xml_put_text(writer, value, strlen(value));
    buf_append_text(writer->out, "\"");
}

void xml_put_element(struct xml_writer *writer, const char *name, const char *text)
{
    xml_start(writer, name);
    xml_end_start(writer);
    xml_put_text(writer, text, strlen(text));
    xml_end(writer, name);
}

bool xml_writer_check(const struct xml_writer *writer, const char *what, struct err *err)
{
    if (!writer->has_bad_text)
        return true;
    return err_set(err, FAIL_INPUT,
                   "%s: a text is not UTF-8 or has a control character; XML cannot "
                   "carry it",
                   what);
}
