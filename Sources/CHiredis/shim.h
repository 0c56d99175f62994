// hiredis' own header, for its reader and its formatter: the connection is NIO's.
#include <hiredis/hiredis.h>
